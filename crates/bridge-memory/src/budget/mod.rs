//! Budgets: room for memory that is promised before it is taken.
//!
//! A [`Budget`] has a capacity. Whoever wants memory reserves it first, under a name, and gives it
//! back by dropping the [`Reservation`]; as long as everybody asks, nobody runs into memory that
//! another was promised. A budget counts; it does not allocate.
//!
//! ```
//! use bridge_memory::budget::{Budget, Shortage};
//!
//! let budget = Budget::new("this program", 100 << 20)?;
//! let loader = budget.consumer("loader");
//! let mut images = loader.reserve(60 << 20)?;
//!
//! // Too much just now: the error says who holds what.
//! let refused = budget.consumer("model").reserve(50 << 20).unwrap_err();
//! assert!(matches!(refused, Shortage::NotNow { have, .. } if have == 40 << 20));
//! assert!(refused.to_string().contains("loader 60.0 MiB"));
//!
//! images.shrink(30 << 20)?;
//! assert!(budget.consumer("model").reserve(50 << 20).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Conversions take one too: see [`Options::within`](bridge_core::Options::within) and [`ConvertHeld`].

mod account;
mod admission;
mod global;
mod held;
mod ledger;
mod measured;
mod one;
mod pressure;
mod reservation;
mod shortage;
mod status;

pub use account::Consumer;
pub use held::{ConvertHeld, ConvertHeldByName, Held};
pub use one::Budget;
pub use pressure::Hook;
pub use reservation::Reservation;
pub use shortage::{Holder, Shortage};
pub use status::BudgetStatus;
