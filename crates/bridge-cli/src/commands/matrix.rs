//! `arraybridge matrix`: converts between every pair of backends, and says what came of it.

use arraybridge::{Backend, Device, Registry};
use comfy_table::{Cell, Color};
use serde::Serialize;

use super::measure::{NotMeasured, Sample, measure};
use crate::args::MatrixArgs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Outcome;

#[derive(Debug, Serialize)]
struct Matrix {
    cells: Vec<MatrixCell>,
}

/// One conversion of the matrix.
#[derive(Debug, Serialize)]
struct MatrixCell {
    source: &'static str,
    target: &'static str,
    device: String,
    status: Status,
    zero_copy: Option<bool>,
    steps: Vec<&'static str>,
    nanoseconds: Option<u64>,
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// Every value came out as it went in.
    Verified,
    /// The conversion failed, or a value or the report was wrong.
    Failed,
    /// A backend cannot run here.
    Unavailable,
    /// A backend has no array type for the sample's element type and rank.
    #[serde(rename = "not applicable")]
    NotApplicable,
}

impl Status {
    /// What it is called, and in which colour.
    fn show(self) -> (&'static str, Color) {
        match self {
            Self::Verified => ("verified", Color::Green),
            Self::Failed => ("failed", Color::Red),
            Self::Unavailable => ("unavailable", Color::Yellow),
            Self::NotApplicable => ("not applicable", Color::DarkGrey),
        }
    }
}

pub(crate) fn run(args: &MatrixArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    let registry = Registry::global()?;
    let sample = Sample::new(args.dtype, args.size)?;
    let mut cells = Vec::new();
    for &source in registry.backends() {
        for &target in registry.backends() {
            for device in devices_of(target) {
                cells.push(cell(registry, (source, target), device, sample));
            }
        }
    }
    let matrix = Matrix { cells };
    if args.json {
        console.print_json(&matrix)?;
    } else if matrix.cells.is_empty() {
        console.print(
            "No backend is linked into this program. Build it with a Cargo feature: \
             --features ndarray,candle",
        )?;
    } else {
        console.print(&show(&matrix, args.markdown, console))?;
    }
    let failed = matrix.cells.iter().any(|cell| cell.status == Status::Failed);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// The devices of a backend; of one that cannot run here, the host stands for them.
fn devices_of(backend: &'static dyn Backend) -> Vec<Device> {
    match backend.devices() {
        Ok(devices) if !devices.is_empty() => devices.into_owned(),
        _ => vec![Device::CPU],
    }
}

fn cell(
    registry: &'static Registry,
    (source, target): (&'static dyn Backend, &'static dyn Backend),
    device: Device,
    sample: Sample,
) -> MatrixCell {
    let mut cell = MatrixCell {
        source: source.name(),
        target: target.name(),
        device: device.to_string(),
        status: Status::Verified,
        zero_copy: None,
        steps: Vec::new(),
        nanoseconds: None,
        reason: None,
    };
    if let Err(error) = source.devices().and_then(|_| target.devices()) {
        cell.status = Status::Unavailable;
        cell.reason = Some(error.to_string());
        return cell;
    }
    match measure(registry, (source, target), device, sample) {
        Ok(measured) => {
            cell.zero_copy = Some(measured.zero_copy);
            cell.steps = measured.steps;
            cell.nanoseconds = Some(measured.nanoseconds);
        }
        Err(NotMeasured::NotApplicable(error)) => {
            cell.status = Status::NotApplicable;
            cell.reason = Some(error.to_string());
        }
        Err(NotMeasured::Failed(failure)) => {
            cell.status = Status::Failed;
            cell.reason = Some(failure.reason());
        }
    }
    cell
}

fn show(matrix: &Matrix, markdown: bool, console: &Console<'_>) -> String {
    let header = ["source", "target", "device", "status", "memory", "steps", "time"];
    let mut table = console.table(markdown, &header);
    for cell in &matrix.cells {
        let (status, colour) = cell.status.show();
        let status = match &cell.reason {
            Some(reason) => format!("{status}: {reason}"),
            None => status.to_owned(),
        };
        let memory = match cell.zero_copy {
            Some(true) => "zero-copy",
            Some(false) => "copy",
            None => "",
        };
        table.add_row([
            Cell::new(cell.source),
            Cell::new(cell.target),
            Cell::new(&cell.device),
            Cell::new(status).fg(colour),
            Cell::new(memory),
            Cell::new(cell.steps.join(", ")),
            Cell::new(cell.nanoseconds.map(show_time).unwrap_or_default()),
        ]);
    }
    table.to_string()
}

fn show_time(nanoseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let shown = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.2} µs", shown / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", shown / 1e6),
        _ => format!("{:.2} s", shown / 1e9),
    }
}
