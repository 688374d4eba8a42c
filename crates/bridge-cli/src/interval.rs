//! Times between samples.

use std::time::Duration;

/// A number of seconds above 0, as it is typed: `0.25`, `2`.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse().ok();
    let interval = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    interval.filter(|interval| !interval.is_zero()).ok_or_else(|| {
        format!("\"{text}\" is not an interval: write a number of seconds above 0, as in 0.1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_seconds_above_zero() {
        assert_eq!(parse_interval("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_interval("1e-3"), Ok(Duration::from_millis(1)));
        for text in ["0", "-1", "-0", "nan", "inf", "1e-12", "1e30", "", "1s", "0,1"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }
}
