//! Plans and reports, as Python sees them.

use std::collections::BTreeMap;
use std::fmt;

use bridge_convert::{Plan, Report, Step};
use bridge_core::Declined;
use pyo3::prelude::*;

/// What a conversion will do, or has done.
///
/// Printing it explains the conversion: each step, the bytes that are copied, and for every way
/// without a copy that is not taken the reason.
#[pyclass(frozen, get_all, name = "Report", module = "arraybridge")]
pub(crate) struct PyReport {
    /// The framework converted from.
    source: String,
    /// The framework converted to.
    target: String,
    /// The names of the steps, in order: "share", "copy", "cast", "upload", "download", "move".
    steps: Vec<String>,
    /// Each step in words.
    details: Vec<String>,
    /// Bytes that all copying steps write together.
    bytes_copied: u64,
    /// Whether the result shares its memory with the source, or took it over.
    zero_copy: bool,
    /// Every way without a copy that was not taken, and why.
    declined: Vec<String>,
    /// Of a plan: the most bytes that the conversion takes at any time, by device, which is what a budget is asked
    /// for; without what a pool reserves itself. None where it says what was done.
    peaks: Option<BTreeMap<String, u64>>,
}

impl PyReport {
    fn new(source: &str, target: &str, steps: &[Step], bytes: u64, declined: &[Declined]) -> Self {
        Self {
            source: source.to_owned(),
            target: target.to_owned(),
            steps: steps.iter().map(|step| step.name().to_owned()).collect(),
            details: steps.iter().map(ToString::to_string).collect(),
            bytes_copied: bytes,
            zero_copy: !steps.iter().any(Step::copies),
            declined: declined.iter().map(ToString::to_string).collect(),
            peaks: None,
        }
    }

    pub(crate) fn of_plan(plan: &Plan, source: &str, target: &str) -> Self {
        let peaks = plan.peaks.iter().map(|peak| (peak.device.to_string(), peak.bytes)).collect();
        let report = Self::new(source, target, &plan.steps, plan.bytes_copied, &plan.declined);
        Self { peaks: Some(peaks), ..report }
    }

    pub(crate) fn of_report(report: &Report, source: &str, target: &str) -> Self {
        Self::new(source, target, &report.steps, report.bytes_copied, &report.declined)
    }

    pub(crate) fn stay(source: &str, target: &str) -> Self {
        Self { peaks: None, ..Self::of_plan(&Plan::stay("object"), source, target) }
    }
}

impl fmt::Display for PyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, target, details, bytes_copied, .. } = self;
        let cost = match bytes_copied {
            0 => "zero-copy".to_owned(),
            bytes => format!("{bytes} bytes copied"),
        };
        write!(f, "{source} to {target}: {} ({cost})", details.join(", "))?;
        self.declined.iter().try_for_each(|declined| write!(f, "\n  {declined}"))
    }
}

#[pymethods]
impl PyReport {
    fn __str__(&self) -> String {
        self.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<arraybridge.Report {}>", self.to_string().lines().next().unwrap_or_default())
    }

    fn _repr_html_(&self) -> String {
        let rows: String =
            self.details.iter().map(|step| format!("<li>{}</li>", escaped(step))).collect();
        let declined: String = self
            .declined
            .iter()
            .map(|reason| format!("<li><small>{}</small></li>", escaped(reason)))
            .collect();
        let cost = if self.zero_copy {
            "zero-copy".to_owned()
        } else {
            format!("{} bytes copied", self.bytes_copied)
        };
        format!(
            "<b>{} → {}</b> ({cost})<ol>{rows}</ol><ul>{declined}</ul>",
            escaped(&self.source),
            escaped(&self.target)
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
