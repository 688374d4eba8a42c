//! The units of the axes.

/// A unit, and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) size: f64,
}

impl Unit {
    /// The unit in which so many bytes are a short number.
    pub(super) fn of_bytes(most: u64) -> Self {
        const NAMES: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let step = most.checked_ilog2().unwrap_or(0) / 10;
        Self { name: NAMES[step as usize], size: (1_u64 << (10 * step)) as f64 }
    }

    /// The unit in which so many seconds are a short number.
    pub(super) fn of_seconds(most: f64) -> Self {
        let (name, size) = match most {
            ..600.0 => ("s", 1.0),
            ..36_000.0 => ("min", 60.0),
            _ => ("h", 3600.0),
        };
        Self { name, size }
    }
}

/// A size in the unit that suits it, with three digits.
pub(super) fn size(bytes: u64) -> String {
    let unit = Unit::of_bytes(bytes);
    format!("{} {}", digits(bytes as f64 / unit.size), unit.name)
}

/// Three digits of a number, without zeros at the end.
pub(super) fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_numbers_of_a_fitting_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1_572_864, "1.5 MiB"),
            (1_073_741_823, "1024 MiB"),
            (1 << 30, "1 GiB"),
            (13_314_398_617, "12.4 GiB"),
            (5 << 40, "5 TiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn long_recordings_are_told_in_minutes_and_hours() {
        for (seconds, unit) in [(0.0, "s"), (599.0, "s"), (600.0, "min"), (36_000.0, "h")] {
            assert_eq!(Unit::of_seconds(seconds).name, unit);
        }
    }
}
