//! The report for people.

use std::fmt::Write;

use measured::time;

use crate::report::{Outcome, Report};
use crate::targets::Verdict;

pub(crate) fn of(report: &Report) -> String {
    let machine = &report.machine;
    let known = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "unknown".to_owned());
    let gpus = if machine.gpus.is_empty() {
        "none: nvidia-smi found no driver".to_owned()
    } else {
        machine.gpus.join("; ")
    };
    let mut text = format!(
        "# Run on a GPU machine\n\n\
         - commit: {}\n- time: {} (seconds since 1970)\n- GPU: {gpus}\n- processor: {}, {} of them\n\
         - system: {}\n- Python: {}\n\n",
        report.commit,
        report.when,
        known(&machine.processor),
        machine.processors.map_or("unknown".to_owned(), |count| count.to_string()),
        known(&machine.system),
        machine.python.as_deref().unwrap_or("none with torch; peers in Python were not measured"),
    );
    targets(&mut text, &report.targets);
    outcomes(&mut text, "Tests", &report.tests);
    outcomes(&mut text, "Benchmark programs", &report.benchmarks);
    measured(&mut text, report);
    text
}

fn outcomes(text: &mut String, title: &str, outcomes: &[Outcome]) {
    if outcomes.is_empty() {
        return;
    }
    let _ = writeln!(text, "## {title}\n\n| program | passed | failed | ignored | seconds |");
    let _ = writeln!(text, "| --- | ---: | ---: | ---: | ---: |");
    for Outcome { name, passed, failed, ignored, seconds, .. } in outcomes {
        let failed = failed.len();
        let _ = writeln!(text, "| {name} | {passed} | {failed} | {ignored} | {seconds:.1} |");
    }
    for Outcome { name, reasons, .. } in outcomes {
        for (reason, count) in reasons {
            let _ = writeln!(text, "\n{name}, not run, {count}: {reason}");
        }
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_good()) {
        let _ = writeln!(text, "\n{} failed: {}", outcome.name, outcome.failed.join(", "));
        if let Some(trouble) = &outcome.trouble {
            let _ = writeln!(text, "\n{trouble}");
        }
        if let Some(output) = &outcome.output {
            let _ = writeln!(text, "\n```text\n{output}\n```");
        }
    }
    text.push('\n');
}

fn targets(text: &mut String, targets: &[Verdict]) {
    if targets.is_empty() {
        return;
    }
    text.push_str("## Targets\n\n| target | found | verdict |\n| --- | --- | --- |\n");
    for Verdict { target, found, met } in targets {
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        let _ = writeln!(text, "| {target} | {found} | {verdict} |");
    }
    text.push('\n');
}

fn measured(text: &mut String, report: &Report) {
    if report.measured.is_empty() {
        return;
    }
    text.push_str("## Measured\n\n\"times ours\" above 1 means that arraybridge is faster.\n\n");
    text.push_str("| job | by | median | times ours |\n| --- | --- | ---: | ---: |\n");
    for one in &report.measured {
        let shown = time(one.nanoseconds);
        let _ = writeln!(text, "| {} | {} | {shown} | {:.2} |", one.job, one.by, one.times_ours);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::report::{Bundle, Measured};

    #[test]
    fn a_report_names_what_failed_and_what_is_not_known() {
        let bundle =
            Bundle { commit: "abc".into(), tests: vec![], benchmarks: vec![], python: None };
        let mut report = Report::of(&bundle, Machine::default());
        report.tests.push(Outcome {
            name: "streams".into(),
            passed: 3,
            failed: vec!["late".into()],
            ignored: 2,
            reasons: [("no GPU: no driver; install it".to_owned(), 2)].into(),
            seconds: 1.25,
            trouble: Some("it ended with signal 11".into()),
            output: Some("late: wrong".into()),
        });
        report.measured.push(Measured {
            job: "upload".into(),
            by: "torch".into(),
            nanoseconds: 1500.0,
            times_ours: 2.0,
        });
        let text = of(&report);
        for part in [
            "- commit: abc",
            "GPU: none",
            "| streams | 3 | 1 | 2 | 1.2 |",
            "streams, not run, 2: no GPU: no driver; install it",
            "streams failed: late",
            "signal 11",
            "late: wrong",
            "| upload | torch | 1.5 µs | 2.00 |",
            "as fast as \"driver\" | not measured |  |",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(!report.passed());
    }
}
