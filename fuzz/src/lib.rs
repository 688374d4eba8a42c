//! What nobody expects, read all the same: files of any bytes, by the program and by what it is made of, and
//! DLPack descriptors of any numbers. Each function answers, or panics where a fault shows.

mod archives;
pub mod dlpack;
mod program;

pub use self::program::run_program;

/// Reads a file of these bytes in memory, by the extension of its format, and converts what can be read. Of a
/// zip archive, also one with the checksums that fit its members, which chance does not find.
///
/// # Panics
///
/// As [`bridge_cli::fuzzing::read_and_convert`].
pub fn read_file(extension: &str, bytes: &[u8]) {
    bridge_cli::fuzzing::read_and_convert(extension, bytes);
    if let Some(repaired) = archives::with_checksums(bytes) {
        bridge_cli::fuzzing::read_and_convert(extension, &repaired);
    }
}
