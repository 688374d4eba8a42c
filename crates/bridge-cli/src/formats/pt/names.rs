//! Members of the archive, by their names in its folder.

pub(super) const PICKLE: &str = "data.pkl";
pub(super) const BYTE_ORDER: &str = "byteorder";
pub(super) const VERSION: &str = "version";
/// The folder of what belongs to a program's code.
pub(super) const CONSTANTS: &str = "constants/";
