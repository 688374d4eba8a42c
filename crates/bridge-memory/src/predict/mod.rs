//! How many bytes a computation will take, before it starts.
