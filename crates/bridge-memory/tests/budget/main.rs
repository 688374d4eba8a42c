//! Budgets as their users see them.
#![forbid(unsafe_code)]

mod buffers;
mod conversions;
mod fair;
mod floors;
mod measured;
mod parts;
mod pressure;
mod refusals;
mod reservations;
mod threads;
mod waiting;
