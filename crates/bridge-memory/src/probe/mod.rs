//! How much memory the host and each device have.
