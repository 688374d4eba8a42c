//! What a piece of code takes, and a monitor over time.
