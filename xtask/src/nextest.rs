//! Reads the events that `cargo nextest run --message-format libtest-json-plus` prints.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::tally::Tally;

/// Counts the events of one run.
///
/// A test's own event says whether it passed. Ignored tests do not get one each reliably, so they
/// are taken from the last summary of their binary.
#[derive(Debug, Default)]
pub(crate) struct Events {
    tally: Tally,
    ignored: BTreeMap<Binary, u64>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    exec_time: f64,
    #[serde(default)]
    ignored: u64,
    nextest: Option<Binary>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Binary {
    #[serde(rename = "crate")]
    package: String,
    test_binary: String,
    kind: String,
}

impl Events {
    /// Takes one line; a line that is no event is of no interest.
    pub(crate) fn see(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<Event>(line) else {
            return;
        };
        match (event.kind.as_str(), event.event.as_str()) {
            ("test", verdict @ ("ok" | "failed")) => {
                let package = event.name.split("::").next().unwrap_or_default();
                let counts = self.tally.of_mut(package);
                counts.seconds += event.exec_time;
                *(if verdict == "ok" { &mut counts.passed } else { &mut counts.failed }) += 1;
            }
            ("suite", "ok" | "failed") => {
                if let Some(binary) = event.nextest {
                    self.ignored.insert(binary, event.ignored);
                }
            }
            _ => {}
        }
    }

    /// The counts of the whole run.
    pub(crate) fn finish(mut self) -> Tally {
        for (binary, ignored) in self.ignored {
            self.tally.of_mut(&binary.package).ignored += ignored;
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    /// Printed by cargo-nextest 0.9.143 for one crate with a passing, a failing, an aborting and
    /// two ignored tests (the captured output of the failing one cut short).
    const LINES: &str = r#"
{"type":"suite","event":"started","test_count":5,"nextest":{"crate":"bridge-core","test_binary":"bridge_core","kind":"lib"}}
{"type":"test","event":"started","name":"bridge-core::bridge_core$broken::ig"}
{"type":"test","event":"started","name":"bridge-core::bridge_core$broken::crash"}
{"type":"test","event":"ignored","name":"bridge-core::bridge_core$broken::ig"}
{"type":"test","event":"failed","name":"bridge-core::bridge_core$broken::crash","exec_time":0.25,"stdout":""}
{"type":"test","event":"started","name":"bridge-core::bridge_core$tests::slow"}
{"type":"suite","event":"failed","passed":0,"failed":1,"ignored":2,"measured":0,"filtered_out":0,"exec_time":0.004,"nextest":{"crate":"bridge-core","test_binary":"bridge_core","kind":"lib"}}
{"type":"test","event":"ok","name":"bridge-core::bridge_core$tests::it","exec_time":0.5}
{"type":"test","event":"failed","name":"bridge-core::bridge_core$broken::bad","exec_time":0.125,"stdout":"{\"type\":\"test\"}\n"}
{"type":"suite","event":"failed","passed":1,"failed":1,"ignored":2,"measured":0,"filtered_out":1,"exec_time":0.13,"nextest":{"crate":"bridge-core","test_binary":"bridge_core","kind":"lib"}}
"#;

    #[test]
    fn counts_verdicts_crashes_and_ignored_tests_once() {
        let mut events = Events::default();
        LINES.lines().for_each(|line| events.see(line));
        let counts = events.finish().take("bridge-core");
        assert_eq!((counts.passed, counts.failed, counts.ignored), (1, 2, 2));
        assert!((counts.seconds - 0.875).abs() < 1e-9, "{}", counts.seconds);
    }

    #[test]
    fn keeps_packages_and_binaries_apart() {
        let mut events = Events::default();
        for line in [
            r#"{"type":"test","event":"ok","name":"a::a$x","exec_time":0.1}"#,
            r#"{"type":"test","event":"ok","name":"a-b::it$x","exec_time":0.1}"#,
            r#"{"type":"suite","event":"ok","ignored":1,"nextest":{"crate":"a","test_binary":"a","kind":"lib"}}"#,
            r#"{"type":"suite","event":"ok","ignored":2,"nextest":{"crate":"a","test_binary":"a","kind":"bin"}}"#,
            "hello",
        ] {
            events.see(line);
        }
        let mut tally = events.finish();
        assert_eq!(tally.take("a-b").passed, 1);
        let a = tally.take("a");
        assert_eq!((a.passed, a.ignored), (1, 3));
    }
}
