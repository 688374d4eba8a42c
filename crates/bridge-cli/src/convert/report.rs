//! What a conversion will do or has done: the stable JSON form, and the same for people.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::path::Path;

use arraybridge::{DataType, Layout, Plan, Report, Shape, Step};
use serde::Serialize;

use super::chain::Chain;
use super::groups;
use super::remarks::remarks;
use super::select::Skipped;
use crate::failure::{Failure, Outcome, visible};
use crate::formats::{Array, ArrayFile};
use crate::room::Room;
use crate::size::show_size;
use crate::standard_input::STANDARD;

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
    pub(crate) skipped: Vec<Skipped>,
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
    skipped: Vec<Skipped>,
}

/// What all arrays have in common.
#[derive(Debug, Serialize)]
struct Total {
    steps: Vec<&'static str>,
    bytes_copied: u64,
    zero_copy: bool,
    dtype: Option<String>,
    shape: Option<Vec<usize>>,
    /// The arrays that `--dtype` leaves alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_cast: Vec<String>,
    /// How many elements casts changed, but for the rounding of floats.
    #[serde(skip_serializing_if = "is_zero")]
    inexact: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What was or would be done with one array.
#[derive(Debug, Serialize)]
pub(crate) struct ArrayReport {
    pub(super) name: String,
    pub(super) dtype: String,
    shape: Vec<usize>,
    steps: Vec<&'static str>,
    pub(super) bytes_copied: u64,
    pub(super) zero_copy: bool,
    #[serde(skip)]
    pub(super) left_alone: bool,
    /// `swapped`, where the file has the numbers' bytes in the other order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) byte_order: Option<&'static str>,
    #[serde(skip_serializing_if = "is_zero")]
    inexact: u64,
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
            left_alone: false,
            byte_order: None,
            inexact: 0,
            windows: None,
            seconds: None,
            hops: Vec::new(),
        }
    }

    /// The same, of an array that a cast is asked for and that is left out of it.
    pub(crate) fn left_alone(self, left_alone: bool) -> Self {
        Self { left_alone, ..self }
    }

    /// Adds what one window went through, and how many of its elements the cast changed.
    pub(crate) fn add_window(&mut self, reports: &[Report], inexact: u64) {
        *self.windows.get_or_insert(0) += 1;
        self.inexact += inexact;
        for (place, report) in reports.iter().enumerate() {
            let hop = Hop::of_report(report);
            self.zero_copy &= report.is_zero_copy();
            match self.hops.get_mut(place) {
                Some(whole) => whole.add(hop),
                None => self.hops.push(hop),
            }
        }
    }

    /// Adds that the elements are copied as they are read: gathered from among others, the bytes of their
    /// numbers swapped, computed from quantised ones.
    fn add_reading(&mut self, array: &Array) {
        let steps = [
            (array.is_swapped(), "swap", "swap the byte order".to_owned()),
            (array.is_scattered(), "gather", "gather the field".to_owned()),
            (
                array.quantized_as().is_some(),
                "dequantize",
                format!("dequantize {}", array.quantized_as().unwrap_or_default()),
            ),
        ];
        if let Some(first) = self.hops.first_mut() {
            for (_, step, shown) in steps.into_iter().filter(|(is_done, ..)| *is_done) {
                first.steps.insert(0, step);
                first.shown.insert(0, shown);
            }
            first.bytes_copied += bytes_of_elements(array);
        }
        self.byte_order = array.is_swapped().then_some("swapped");
        self.zero_copy = false;
    }

    /// Sums the hops up, of an array as it lies in its file.
    pub(crate) fn finished(mut self, array: &Array, seconds: Option<f64>) -> Self {
        if array.is_read_by_copy() {
            self.add_reading(array);
        }
        self.steps = self.hops.iter().flat_map(|hop| hop.steps.clone()).collect();
        self.bytes_copied = self.hops.iter().map(|hop| hop.bytes_copied).sum();
        self.seconds = seconds;
        self
    }

    pub(super) fn show(&self, text: &mut String) {
        let copied = show_copied(self.zero_copy, self.bytes_copied);
        let name = visible(&self.name);
        let _ =
            write!(text, "{name}: {} {:?}, {copied}{}", self.dtype, self.shape, self.show_way());
    }

    /// What else there is to say, and a line for each hop, and for each way that was not taken.
    pub(super) fn show_way(&self) -> String {
        let mut text = String::new();
        if self.left_alone {
            text.push_str(", not cast");
        }
        if self.byte_order.is_some() {
            text.push_str(", byte order swapped");
        }
        for hop in &self.hops {
            let steps = hop.shown.join(", ");
            let _ = write!(text, "\n  {} to {}: {steps}", hop.source, hop.target);
            for reason in &hop.declined {
                let _ = write!(text, "\n    {reason}");
            }
        }
        text
    }
}

fn bytes_of_elements(array: &Array) -> u64 {
    let spec = &array.spec;
    spec.layout.compact_bytes(spec.data_type).map_or(0, |bytes| bytes as u64)
}

pub(super) fn show_copied(zero_copy: bool, bytes: u64) -> String {
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
            not_cast: arrays
                .iter()
                .filter(|array| array.left_alone)
                .map(|array| array.name.clone())
                .collect(),
            inexact: arrays.iter().map(|array| array.inexact).sum(),
        }
    }

    /// What people have to be told of casts: some lines, each after a line break.
    fn show_casts(&self, arrays: &[ArrayReport]) -> String {
        let mut text = String::new();
        if self.inexact > 0 {
            let _ = write!(
                text,
                "\nvalues that the new type lacks, and that were changed: {}",
                self.inexact
            );
        }
        let mut left = arrays.iter().filter(|array| array.left_alone);
        let listed: Vec<String> = left
            .by_ref()
            .take(IN_A_LINE)
            .map(|array| format!("\"{}\" ({})", visible(&array.name), array.dtype))
            .collect();
        if !listed.is_empty() {
            let more = match left.count() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let listed = listed.join(", ");
            let _ = write!(
                text,
                "\nnot cast, as of another kind: {listed}{more} (--cast-all casts all)"
            );
        }
        text
    }
}

/// How many arrays a line lists.
const IN_A_LINE: usize = 8;

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
            skipped: Vec::new(),
        }
    }

    /// The same, where this was left out.
    pub(crate) fn without(self, skipped: &[Skipped]) -> Self {
        Self { skipped: skipped.to_vec(), ..self }
    }

    /// The same, with what a user should know of the file that was read.
    pub(crate) fn remarking(self, remarks: Vec<String>) -> Self {
        Self { remarks, ..self }
    }

    /// One line for people, and one for each remark and each thing about casts that they have to know.
    pub(crate) fn show(&self) -> String {
        let arrays = match self.arrays.as_slice() {
            [only] => format!("{} {:?}", only.dtype, only.shape),
            many => format!("{} arrays", many.len()),
        };
        let is_swapped = self.arrays.iter().any(|array| array.byte_order.is_some());
        let swapped = if is_swapped { ", byte order swapped" } else { "" };
        let mut text = format!(
            "{}: {arrays}, {} in {:.3} s, {}{swapped}{}",
            if self.output == STANDARD { "standard output" } else { &self.output },
            show_size(self.bytes_written),
            self.seconds,
            show_copied(self.total.zero_copy, self.total.bytes_copied),
            self.total.show_casts(&self.arrays),
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

/// Arrays up to this many are told one by one.
const FEW: usize = 10;

/// Entries that are listed of those that were left out.
const LISTED: usize = 20;

/// What was left out and why, a line each; nothing where nothing was.
pub(crate) fn show_skipped(skipped: &[Skipped]) -> Option<String> {
    if skipped.is_empty() {
        return None;
    }
    let mut text = format!("left out {} of what the file holds:", skipped.len());
    for one in skipped.iter().take(LISTED) {
        let _ = write!(text, "\n  {}", visible(&one.failure.reason()));
    }
    if skipped.len() > LISTED {
        let _ = write!(text, "\n  and {} more", skipped.len() - LISTED);
    }
    Some(text)
}

impl PlanReport {
    /// The same, where this is left out.
    pub(crate) fn without(self, skipped: &[Skipped]) -> Self {
        Self { skipped: skipped.to_vec(), ..self }
    }

    /// Some lines an array for people; of many arrays, for each group of those that go the same way.
    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        if self.arrays.len() > FEW {
            text = groups::show(&self.arrays);
        } else {
            for array in &self.arrays {
                if !text.is_empty() {
                    text.push('\n');
                }
                array.show(&mut text);
            }
        }
        if text.is_empty() {
            text = format!("{}: no arrays", self.input);
        }
        text.push_str(&self.total.show_casts(&self.arrays));
        show_remarks(&mut text, &self.remarks);
        if let Some(skipped) = show_skipped(&self.skipped) {
            let _ = write!(text, "\n{skipped}");
        }
        text
    }
}

/// The elements that a plan is made with. Several along some axes, so that they have an order.
const STAND_IN: usize = 16;

/// How arrays of a file are converted. Those that are alike are planned once: a checkpoint has thousands.
struct Planner<'a> {
    file: &'a ArrayFile,
    chain: &'a Chain,
    planned: HashMap<Alike, Vec<(Plan, DataType)>>,
}

/// What plans depend on: element type, shape, whether it is row-major, and where it lies in a page.
type Alike = (DataType, Shape, bool, Option<usize>);

impl<'a> Planner<'a> {
    fn new(file: &'a ArrayFile, chain: &'a Chain) -> Self {
        Self { file, chain, planned: HashMap::new() }
    }

    /// The plan of each hop, and the element type that it starts from. Fails where there is no way.
    fn plans(&mut self, array: &Array, name: &str) -> Outcome<&[(Plan, DataType)]> {
        let Self { file, chain, planned } = self;
        let within = |failure: Failure| failure.within(&format!("the array \"{name}\""));
        chain.allow_reading(array).map_err(within)?;
        let layout = &array.spec.layout;
        let (shape, in_rows) = (Shape::from_slice(layout.shape()), layout.is_row_major());
        let alike = (array.spec.data_type, shape, in_rows, file.place_in_page(array)?);
        Ok(match planned.entry(alike) {
            Entry::Occupied(plans) => plans.into_mut(),
            Entry::Vacant(none) => {
                none.insert(chain.plans(file.stand_in(array, STAND_IN)?).map_err(within)?)
            }
        })
    }
}

/// Fails where one of these arrays cannot be converted.
pub(crate) fn check_plans(
    file: &ArrayFile,
    arrays: &[(&Array, &str)],
    chain: &Chain,
) -> Outcome<()> {
    let mut planner = Planner::new(file, chain);
    arrays.iter().try_for_each(|(array, name)| planner.plans(array, name).map(drop))
}

/// What converting these arrays would do.
pub(crate) fn explain(
    (path, file): (&Path, &ArrayFile),
    arrays: &[(&Array, &str)],
    chain: &Chain,
) -> Outcome<PlanReport> {
    let mut planner = Planner::new(file, chain);
    let explained: Outcome<Vec<_>> = arrays
        .iter()
        .map(|(array, name)| {
            let spec = &array.spec;
            let shape = Shape::from_slice(spec.layout.shape());
            let casts = chain.casts();
            let data_type = casts.of(spec.data_type).unwrap_or(spec.data_type);
            let mut report = ArrayReport::new(name, data_type, &shape)
                .left_alone(casts.leave_alone(spec.data_type));
            for (plan, from) in planner.plans(array, name)? {
                report.zero_copy &= plan.is_zero_copy();
                report.hops.push(Hop::of_plan(plan, *from, &spec.layout)?);
            }
            Ok(report.finished(array, None))
        })
        .collect();
    let arrays = explained?;
    Ok(PlanReport {
        input: path.display().to_string(),
        total: Total::of(&arrays),
        remarks: remarks(file, None),
        arrays,
        skipped: Vec::new(),
    })
}
