//! Converting arrays of files: through which backends, part by part, and what was done.

mod chain;
mod limit;
mod naming;
mod progress;
mod remarks;
mod report;
mod select;
mod stream;

pub(crate) use self::chain::Chain;
pub(crate) use self::limit::check_room;
pub(crate) use self::naming::NamingArgs;
pub(crate) use self::remarks::remarks;
pub(crate) use self::report::{FileReport, explain};
pub(crate) use self::select::select;
pub(crate) use self::stream::Stream;
