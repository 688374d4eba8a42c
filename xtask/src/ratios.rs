//! Reads what criterion measured and says each peer's time as a multiple of ours.

use std::collections::BTreeMap;
use std::path::Path;

use crate::table::{Row, Tone};

/// The function of every group that is arraybridge.
const OURS: &str = "ours";

/// What criterion estimated of one function, in nanoseconds.
type Medians = BTreeMap<String, f64>;

/// One group of benchmarks: the same job done by us and by peers.
#[derive(Debug, PartialEq)]
struct Group {
    name: String,
    medians: Medians,
}

/// A row for each function of each group below criterion's folder: its median time, and how many
/// times ours that is.
pub(crate) fn rows(criterion: &Path) -> Vec<Row> {
    groups(criterion).iter().flat_map(Group::rows).collect()
}

/// The names of the columns of [`rows`].
pub(crate) const COLUMNS: [&str; 4] = ["job", "by", "median", "times ours"];

fn groups(criterion: &Path) -> Vec<Group> {
    let mut groups: Vec<Group> = folders(criterion)
        .map(|(name, path)| {
            let median = |(function, path): (String, std::path::PathBuf)| {
                let text = std::fs::read_to_string(path.join("new/estimates.json")).ok()?;
                Some((function, median_of(&text)?))
            };
            Group { name, medians: folders(&path).filter_map(median).collect() }
        })
        .filter(|group| group.medians.contains_key(OURS))
        .collect();
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    groups
}

fn folders(path: &Path) -> impl Iterator<Item = (String, std::path::PathBuf)> {
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

fn median_of(estimates: &str) -> Option<f64> {
    let estimates: serde_json::Value = serde_json::from_str(estimates).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

impl Group {
    fn rows(&self) -> Vec<Row> {
        let ours = self.medians[OURS];
        let row = |(function, &median): (&String, &f64)| {
            let ratio = median / ours;
            let slower = ratio < 0.995;
            Row {
                words: vec![
                    self.name.clone(),
                    function.clone(),
                    time(median),
                    format!("{ratio:.2}"),
                ],
                verdict: 3,
                tone: if slower { Tone::Missing } else { Tone::Good },
            }
        };
        let (first, peers): (Vec<_>, Vec<_>) =
            self.medians.iter().partition(|(function, _)| *function == OURS);
        first.into_iter().chain(peers).map(row).collect()
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n => format!("{:.2} ms", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_multiple_of_ours() {
        let medians = [("numpy", 300.0), ("ours", 150.0), ("memcpy", 75.0)];
        let medians = medians.map(|(name, median)| (name.to_owned(), median)).into();
        let rows = Group { name: "copy".to_owned(), medians }.rows();
        let words: Vec<_> = rows.iter().map(|row| row.words[1..].join(" ")).collect();
        assert_eq!(words, ["ours 150 ns 1.00", "memcpy 75 ns 0.50", "numpy 300 ns 2.00"]);
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
