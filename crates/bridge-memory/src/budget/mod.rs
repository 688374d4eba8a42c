//! Budgets: room for memory that is promised before it is taken.
