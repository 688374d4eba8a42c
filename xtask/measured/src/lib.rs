//! Reads what criterion measured, and says each peer's time as a multiple of ours.
//!
//! Every group is one job; its function `ours` is arraybridge, the others are peers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The function of every group that is arraybridge.
const OURS: &str = "ours";

/// How long one function took for its group's job.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The group.
    pub job: String,
    /// The function: `ours`, or a peer.
    pub by: String,
    /// The median of its times.
    pub nanoseconds: f64,
    /// The median as a multiple of ours: above 1, ours is faster.
    pub times_ours: f64,
}

/// The measurements below criterion's folder, by job, ours before its peers. Jobs that we were not
/// measured in are left out.
pub fn measurements(criterion: &Path) -> Vec<Measurement> {
    let mut groups: Vec<_> = folders(criterion).collect();
    groups.sort();
    groups.into_iter().flat_map(|(job, path)| of_group(&job, medians(&path))).collect()
}

/// A time in the unit that shows it best.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n => format!("{:.2} ms", n / 1e6),
    }
}

fn of_group(job: &str, medians: BTreeMap<String, f64>) -> Vec<Measurement> {
    let Some(&ours) = medians.get(OURS) else {
        return Vec::new();
    };
    let (first, peers): (Vec<_>, Vec<_>) = medians.into_iter().partition(|(by, _)| by == OURS);
    let measurement = |(by, nanoseconds)| Measurement {
        job: job.to_owned(),
        by,
        nanoseconds,
        times_ours: nanoseconds / ours,
    };
    first.into_iter().chain(peers).map(measurement).collect()
}

fn medians(group: &Path) -> BTreeMap<String, f64> {
    let median = |(function, path): (String, PathBuf)| {
        let text = fs::read_to_string(path.join("new/estimates.json")).ok()?;
        Some((function, median_of(&text)?))
    };
    folders(group).filter_map(median).collect()
}

fn folders(path: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

fn median_of(estimates: &str) -> Option<f64> {
    let estimates: serde_json::Value = serde_json::from_str(estimates).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_multiple_of_ours_and_comes_after_it() {
        let medians = [("memcpy", 75.0), ("numpy", 300.0), ("ours", 150.0)];
        let found = of_group("copy", medians.map(|(by, t)| (by.to_owned(), t)).into());
        let shown: Vec<_> = found.iter().map(|m| (&*m.by, m.times_ours)).collect();
        assert_eq!(shown, [("ours", 1.0), ("memcpy", 0.5), ("numpy", 2.0)]);
        assert!(of_group("copy", [("numpy".to_owned(), 1.0)].into()).is_empty());
    }

    #[test]
    fn the_median_is_read_and_times_are_short() {
        let estimates = r#"{"mean":{"point_estimate":9.0},"median":{"point_estimate":8.5}}"#;
        assert_eq!(median_of(estimates), Some(8.5));
        assert_eq!(median_of("{}"), None);
        assert_eq!(
            (time(999.0), time(1500.0), time(2.5e6)),
            ("999 ns".into(), "1.5 µs".into(), "2.50 ms".into())
        );
    }
}
