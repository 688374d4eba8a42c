//! The budgets of the program: one for each device, and one of all of them.
