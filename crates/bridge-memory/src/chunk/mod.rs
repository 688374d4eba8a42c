//! Work in parts: how large they are, and running over them.
