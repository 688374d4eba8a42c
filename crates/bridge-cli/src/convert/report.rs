//! What a conversion will do or has done: the stable JSON form, and the same for people.

use std::fmt::Write;
use std::path::Path;

use arraybridge::{DataType, Layout, Plan, Report, Shape, Step};
use serde::Serialize;

use super::chain::Chain;
use super::remarks::remarks;
use crate::failure::{Failure, Outcome, visible};
use crate::formats::{Array, ArrayFile};
use crate::room::Room;
use crate::size::show_size;

/// What was done with a file: what `convert --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct FileReport {
    pub(crate) input: String,
    pub(crate) output: String,
    #[serde(flatten)]
    total: Total,
    pub(crate) bytes_written: u64,
    pub(crate) seconds: f64,
    #[serde(flatten)]
    memory: Memory,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
    pub(crate) arrays: Vec<ArrayReport>,
}

/// What it took of the memory that it was allowed, in bytes.
#[derive(Debug, Serialize)]
struct Memory {
    #[serde(rename = "memory_limit", skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(rename = "memory_peak", skip_serializing_if = "Option::is_none")]
    peak: Option<u64>,
}

/// What would be done with a file: what `plan --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct PlanReport {
    pub(crate) input: String,
    #[serde(flatten)]
    total: Total,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
    pub(crate) arrays: Vec<ArrayReport>,
}

/// What all arrays have in common.
#[derive(Debug, Serialize)]
struct Total {
    steps: Vec<&'static str>,
    bytes_copied: u64,
    zero_copy: bool,
    dtype: Option<String>,
    shape: Option<Vec<usize>>,
}

/// What was or would be done with one array.
#[derive(Debug, Serialize)]
pub(crate) struct ArrayReport {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    steps: Vec<&'static str>,
    bytes_copied: u64,
    zero_copy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    hops: Vec<Hop>,
}

/// One conversion between two frameworks, or between a file and one.
#[derive(Debug, Serialize)]
struct Hop {
    source: &'static str,
    target: &'static str,
    steps: Vec<&'static str>,
    #[serde(skip)]
    shown: Vec<String>,
    bytes_copied: u64,
    declined: Vec<String>,
}

/// What a tensor of a file is called.
fn end_name(name: &'static str) -> &'static str {
    if name == "dlpack" { "file" } else { name }
}

impl Hop {
    fn new(ends: (&'static str, &'static str), steps: &[Step], declined: Vec<String>) -> Self {
        Self {
            source: end_name(ends.0),
            target: end_name(ends.1),
            steps: steps.iter().map(Step::name).collect(),
            shown: steps.iter().map(ToString::to_string).collect(),
            bytes_copied: 0,
            declined,
        }
    }

    fn of_plan(plan: &Plan, from: DataType, layout: &Layout) -> Outcome<Self> {
        let declined = plan.declined.iter().map(ToString::to_string).collect();
        let mut hop = Self::new((plan.source, plan.target), &plan.steps, declined);
        let mut data_type = from;
        for step in plan.steps.iter().filter(|step| step.copies()) {
            if let Step::Cast { to, .. } = step {
                data_type = *to;
            }
            hop.bytes_copied += layout.compact_bytes(data_type)? as u64;
        }
        Ok(hop)
    }

    fn of_report(report: &Report) -> Self {
        let declined = report.declined.iter().map(ToString::to_string).collect();
        let mut hop = Self::new((report.source, report.target), &report.steps, declined);
        hop.bytes_copied = report.bytes_copied;
        hop
    }

    /// Adds what another window of the same array went through.
    fn add(&mut self, other: Self) {
        self.bytes_copied += other.bytes_copied;
        for (step, shown) in other.steps.into_iter().zip(other.shown) {
            if !self.steps.contains(&step) {
                self.steps.push(step);
                self.shown.push(shown);
            }
        }
        for reason in other.declined {
            if !self.declined.contains(&reason) {
                self.declined.push(reason);
            }
        }
    }
}

impl ArrayReport {
    pub(crate) fn new(name: &str, data_type: DataType, shape: &Shape) -> Self {
        Self {
            name: name.to_owned(),
            dtype: data_type.to_string(),
            shape: shape.to_vec(),
            steps: Vec::new(),
            bytes_copied: 0,
            zero_copy: true,
            windows: None,
            seconds: None,
            hops: Vec::new(),
        }
    }

    /// Adds what one window went through.
    pub(crate) fn add_window(&mut self, reports: &[Report]) {
        *self.windows.get_or_insert(0) += 1;
        for (place, report) in reports.iter().enumerate() {
            let hop = Hop::of_report(report);
            self.zero_copy &= report.is_zero_copy();
            match self.hops.get_mut(place) {
                Some(whole) => whole.add(hop),
                None => self.hops.push(hop),
            }
        }
    }

    /// Sums the hops up.
    pub(crate) fn finished(mut self, seconds: Option<f64>) -> Self {
        self.steps = self.hops.iter().flat_map(|hop| hop.steps.clone()).collect();
        self.bytes_copied = self.hops.iter().map(|hop| hop.bytes_copied).sum();
        self.seconds = seconds;
        self
    }

    fn show(&self, text: &mut String) {
        let copied = show_copied(self.zero_copy, self.bytes_copied);
        let _ = write!(text, "{}: {} {:?}, {copied}", self.name, self.dtype, self.shape);
        for hop in &self.hops {
            let steps = hop.shown.join(", ");
            let _ = write!(text, "\n  {} to {}: {steps}", hop.source, hop.target);
            for reason in &hop.declined {
                let _ = write!(text, "\n    {reason}");
            }
        }
    }
}

fn show_copied(zero_copy: bool, bytes: u64) -> String {
    if zero_copy { "zero-copy".to_owned() } else { format!("{} copied", show_size(bytes)) }
}

impl Total {
    fn of(arrays: &[ArrayReport]) -> Self {
        let mut steps = Vec::new();
        for array in arrays {
            if arrays.len() == 1 {
                steps.clone_from(&array.steps);
                break;
            }
            for &step in &array.steps {
                if !steps.contains(&step) {
                    steps.push(step);
                }
            }
        }
        let only = match arrays {
            [only] => Some(only),
            _ => None,
        };
        Self {
            steps,
            bytes_copied: arrays.iter().map(|array| array.bytes_copied).sum(),
            zero_copy: arrays.iter().all(|array| array.zero_copy),
            dtype: only.map(|array| array.dtype.clone()),
            shape: only.map(|array| array.shape.clone()),
        }
    }
}

impl FileReport {
    pub(crate) fn new(
        (input, output): (&Path, &Path),
        arrays: Vec<ArrayReport>,
        (bytes_written, seconds): (u64, f64),
        room: &Room,
    ) -> Self {
        Self {
            input: input.display().to_string(),
            output: output.display().to_string(),
            total: Total::of(&arrays),
            bytes_written,
            seconds,
            memory: Memory { limit: room.limit(), peak: room.peak() },
            remarks: Vec::new(),
            arrays,
        }
    }

    /// The same, with what a user should know of the file that was read.
    pub(crate) fn remarking(self, remarks: Vec<String>) -> Self {
        Self { remarks, ..self }
    }

    /// One line for people, and one for each remark.
    pub(crate) fn show(&self) -> String {
        let arrays = match self.arrays.as_slice() {
            [only] => format!("{} {:?}", only.dtype, only.shape),
            many => format!("{} arrays", many.len()),
        };
        let mut text = format!(
            "{}: {arrays}, {} in {:.3} s, {}",
            self.output,
            show_size(self.bytes_written),
            self.seconds,
            show_copied(self.total.zero_copy, self.total.bytes_copied),
        );
        show_remarks(&mut text, &self.remarks);
        text
    }
}

fn show_remarks(text: &mut String, remarks: &[String]) {
    for remark in remarks {
        let _ = write!(text, "\n  {}", visible(remark));
    }
}

impl PlanReport {
    /// Some lines an array for people.
    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        for array in &self.arrays {
            if !text.is_empty() {
                text.push('\n');
            }
            array.show(&mut text);
        }
        if text.is_empty() {
            text = format!("{}: no arrays", self.input);
        }
        show_remarks(&mut text, &self.remarks);
        text
    }
}

/// The elements that a plan is made with. Several along some axes, so that they have an order.
const STAND_IN: usize = 16;

/// What converting these arrays would do.
pub(crate) fn explain(
    (path, file): (&Path, &ArrayFile),
    arrays: &[(&Array, &str)],
    chain: &Chain,
    cast: Option<DataType>,
) -> Outcome<PlanReport> {
    let explained: Outcome<Vec<_>> = arrays
        .iter()
        .map(|(array, name)| {
            let spec = &array.spec;
            let shape = Shape::from_slice(spec.layout.shape());
            let mut report = ArrayReport::new(name, cast.unwrap_or(spec.data_type), &shape);
            let within = |failure: Failure| failure.within(&format!("the array \"{name}\""));
            let plans = chain.plans(file.stand_in(array, STAND_IN)?).map_err(within)?;
            for (plan, from) in &plans {
                report.zero_copy &= plan.is_zero_copy();
                report.hops.push(Hop::of_plan(plan, *from, &spec.layout)?);
            }
            Ok(report.finished(None))
        })
        .collect();
    let arrays = explained?;
    let input = path.display().to_string();
    Ok(PlanReport { input, total: Total::of(&arrays), remarks: remarks(file), arrays })
}
