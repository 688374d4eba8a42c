//! Converting arrays of files: through which backends, part by part, and what was done.

mod casts;
mod chain;
mod exactness;
mod groups;
mod limit;
mod naming;
mod progress;
mod read_as;
mod remarks;
mod report;
mod select;
mod stream;

pub(crate) use self::chain::Chain;
pub(crate) use self::limit::check_room;
pub(crate) use self::naming::NamingArgs;
pub(crate) use self::read_as::read_as;
pub(crate) use self::remarks::remarks;
pub(crate) use self::report::{FileReport, check_plans, explain, show_skipped};
pub(crate) use self::select::{Choice, Selection, Skipped, select};
pub(crate) use self::stream::Stream;
