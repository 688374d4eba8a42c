//! Sizes in bytes, read and written for people.

/// A number of bytes of at least 1: `512MiB`, `2G`, `65536`. Decimal and binary units, in any case.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let nonsense = || {
        format!(
            "\"{text}\" is not a size: write a number of bytes above 0, as in 512MiB, 2GB or 65536"
        )
    };
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| nonsense())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err(nonsense()),
    };
    number.checked_mul(factor).filter(|&bytes| bytes > 0).ok_or_else(nonsense)
}

/// A number of bytes with a binary unit and three digits: `1.50 MiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut shown = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for &next in units {
        if shown < 1000.0 {
            break;
        }
        shown /= 1024.0;
        unit = next;
    }
    let digits = match shown {
        s if s < 10.0 => 2,
        s if s < 100.0 => 1,
        _ => 0,
    };
    format!("{shown:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("1", 1),
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("2G", 2 << 30),
            ("3kB", 3000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "0MiB", "-1", "MiB", "1.5MiB", "12XB", "99999999999TiB", "∞"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.50 KiB"),
            (1 << 30, "1.00 GiB"),
            (700 << 20, "700 MiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }
}
