//! Sizes as people read them.

use std::fmt;

/// Prints a number of bytes with the largest binary unit below it: "512 B", "1.5 MiB".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let power = (63 - self.0.leading_zeros()) / 10;
        let in_units = self.0 as f64 / (1_u64 << (10 * power)) as f64;
        write!(f, "{in_units:.1} {}", units[power as usize - 1])
    }
}

/// Two amounts that are compared: as people read them, or byte for byte where both would read the same.
pub(crate) fn apart(one: u64, other: u64) -> [String; 2] {
    let read = [one, other].map(|bytes| Bytes(bytes).to_string());
    if one == other || read[0] != read[1] {
        read
    } else {
        [one, other].map(|bytes| format!("{bytes} B"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_with_the_unit_below_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536 << 10, "1.5 MiB"),
            (1 << 60, "1.0 EiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn amounts_that_differ_read_differently() {
        assert_eq!(apart(1 << 20, 3 << 20), ["1.0 MiB", "3.0 MiB"]);
        assert_eq!(apart(1 << 20, (1 << 20) + 1), ["1048576 B", "1048577 B"]);
        assert_eq!(apart(1 << 20, 1 << 20), ["1.0 MiB", "1.0 MiB"]);
    }
}
