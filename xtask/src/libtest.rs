//! Reads the text that `cargo test` prints: which binary runs, and the line it ends with.

use std::collections::BTreeMap;

use crate::tally::Tally;

/// Counts the result lines of one run of `cargo test`, by package.
#[derive(Debug, Default)]
pub(crate) struct Text {
    binaries: BTreeMap<String, String>,
    tally: Tally,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    package: String,
    has_result: bool,
}

impl Text {
    /// A reader that knows which package each test binary (by file name) belongs to.
    pub(crate) fn with_binaries(binaries: BTreeMap<String, String>) -> Self {
        Self { binaries, ..Self::default() }
    }

    /// Takes one line. `package_of_library` tells whose documentation is tested.
    pub(crate) fn see(&mut self, line: &str, package_of_library: impl Fn(&str) -> String) {
        if let Some(binary) = running_binary(line) {
            let package = self.binaries.get(binary).map_or(binary, String::as_str).to_owned();
            self.start(package);
        } else if let Some(library) = line.trim_start().strip_prefix("Doc-tests ") {
            self.start(package_of_library(library.trim()));
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            self.add(rest);
        }
    }

    /// The counts of the whole run.
    pub(crate) fn finish(mut self) -> Tally {
        self.end();
        self.tally
    }

    fn start(&mut self, package: String) {
        self.end();
        self.running = Some(Running { package, has_result: false });
    }

    /// A binary that ended without a result line crashed: that is one failure.
    fn end(&mut self) {
        if let Some(Running { package, has_result: false }) = self.running.take() {
            self.tally.of_mut(&package).failed += 1;
        }
    }

    fn add(&mut self, result: &str) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.has_result = true;
        let counts = self.tally.of_mut(&running.package);
        // "ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s"
        for part in result.split([';', '.']).map(str::trim) {
            match part.split_once(' ') {
                Some((n, "passed")) => counts.passed += n.parse().unwrap_or(0),
                Some((n, "failed")) => counts.failed += n.parse().unwrap_or(0),
                Some((n, "ignored")) => counts.ignored += n.parse().unwrap_or(0),
                _ => {}
            }
        }
        if let Some((_, seconds)) = result.rsplit_once("finished in ") {
            counts.seconds += seconds.trim_end_matches('s').parse().unwrap_or(0.0);
        }
    }
}

/// The file name of the binary in "Running tests/extra.rs (target/debug/deps/extra-0123abcd)".
fn running_binary(line: &str) -> Option<&str> {
    let (_, path) = line.trim_start().strip_prefix("Running ")?.rsplit_once('(')?;
    path.strip_suffix(')')?.rsplit(['/', '\\']).next()
}

#[cfg(test)]
mod tests {
    use super::{Text, running_binary};

    fn read(lines: &str) -> crate::tally::Tally {
        let binaries = [("bridge_core-ff7a", "bridge-core"), ("extra-fb22", "bridge-host")];
        let mut text = Text::with_binaries(
            binaries.map(|(binary, package)| (binary.to_owned(), package.to_owned())).into(),
        );
        lines.lines().for_each(|line| text.see(line, |library| library.replace('_', "-")));
        text.finish()
    }

    #[test]
    fn finds_the_binary_in_a_running_line() {
        let line = "     Running unittests src/lib.rs (/t/debug/deps/bridge_core-ff7a)";
        assert_eq!(running_binary(line), Some("bridge_core-ff7a"));
        assert_eq!(running_binary("test running ... ok"), None);
    }

    #[test]
    fn counts_unit_and_doc_tests_of_each_package() {
        let mut tally = read(
            "     Running unittests src/lib.rs (target/debug/deps/bridge_core-ff7a)\n\
             running 3 tests\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.25s\n\
             \x20    Running tests/extra.rs (target/debug/deps/extra-fb22)\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.50s\n\
             \x20  Doc-tests bridge_core\n\
             test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n",
        );
        let core = tally.take("bridge-core");
        assert_eq!((core.passed, core.failed, core.ignored), (7, 0, 1));
        assert!((core.seconds - 1.25).abs() < 1e-9);
        let host = tally.take("bridge-host");
        assert_eq!((host.passed, host.failed), (1, 2));
    }

    #[test]
    fn a_binary_without_a_result_line_is_a_failure() {
        let mut tally = read(
            "     Running unittests src/lib.rs (target/debug/deps/bridge_core-ff7a)\n\
             error: test failed, to rerun pass `-p bridge-core --lib`\n\
             \x20    Running tests/extra.rs (target/debug/deps/extra-fb22)\n",
        );
        assert_eq!(tally.take("bridge-core").failed, 1);
        assert_eq!(tally.take("bridge-host").failed, 1);
    }
}
