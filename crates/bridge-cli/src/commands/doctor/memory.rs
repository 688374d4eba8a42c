//! Memory by holder: of each device who holds what, of the host what may be used, of this process what it
//! takes.

use std::fmt::Write;

use arraybridge::memory::probe::{HostProbe, Measured, MemoryProbe, Source};
use arraybridge::memory::profile::{DeviceUsage, HolderUsage, Usage};
use serde::Serialize;

use crate::console::Console;
use crate::failure::visible;
use crate::size::show_size;

/// Who holds memory now, in bytes.
#[derive(Debug, Serialize)]
pub(super) struct HeldMemory {
    process: Process,
    devices: Vec<Held>,
    problems: Vec<String>,
}

/// The memory of this process.
#[derive(Debug, Serialize)]
struct Process {
    resident: Option<u64>,
}

/// A device's memory. What is taken and no backend counts is `unaccounted`: other programs, drivers.
#[derive(Debug, Serialize)]
struct Held {
    #[serde(flatten)]
    usage: DeviceUsage,
    unaccounted: Option<u64>,
}

/// The host's memory, as far as this process may use it.
#[derive(Debug, Serialize)]
pub(super) struct HostMemory {
    #[serde(rename = "memory_total")]
    total: Option<u64>,
    #[serde(rename = "memory_total_from")]
    total_from: String,
    #[serde(rename = "memory_available")]
    available: Option<u64>,
    #[serde(rename = "memory_available_from")]
    available_from: String,
    #[serde(rename = "memory_problems")]
    problems: Vec<String>,
}

impl From<Usage> for HeldMemory {
    fn from(usage: Usage) -> Self {
        let Usage { resident, devices, problems } = usage;
        let held = |usage: DeviceUsage| Held { unaccounted: usage.unaccounted(), usage };
        let devices = devices.into_iter().map(held).collect();
        Self { process: Process { resident }, devices, problems }
    }
}

impl HostMemory {
    pub(super) fn find() -> Self {
        match HostProbe::new().measure() {
            Ok(measured) => Self::of(measured),
            Err(error) => Self {
                total: None,
                total_from: "unknown".to_owned(),
                available: None,
                available_from: "unknown".to_owned(),
                problems: vec![error.to_string()],
            },
        }
    }

    /// What was measured; what is only assumed is no figure.
    fn of(measured: Measured) -> Self {
        let known = |bytes, from: &Source| (*from != Source::Fallback).then_some(bytes);
        Self {
            total: known(measured.total, &measured.total_from),
            total_from: measured.total_from.to_string(),
            available: known(measured.available, &measured.available_from),
            available_from: measured.available_from.to_string(),
            problems: measured.problems,
        }
    }

    /// One line, and one for each problem.
    pub(super) fn show(&self) -> String {
        let Self { total, total_from, available, available_from, problems } = self;
        let mut text = format!(
            "memory {} ({total_from}), {} available ({available_from})",
            show_known(*total),
            show_known(*available)
        );
        add_problems(&mut text, problems);
        text
    }
}

impl HeldMemory {
    /// A table of the devices that somebody holds memory of, and a line about this process.
    pub(super) fn show(&self, console: &Console<'_>) -> String {
        let mut text = String::new();
        if !self.devices.is_empty() {
            let header = ["device", "total", "free", "held by", "in use", "cached"];
            let mut table = console.table(false, &header);
            for row in self.devices.iter().flat_map(Held::rows) {
                table.add_row(row);
            }
            let _ = writeln!(text, "{table}");
        }
        let _ = write!(text, "process: {} resident", show_known(self.process.resident));
        add_problems(&mut text, &self.problems);
        text
    }
}

impl Held {
    /// A row for each holder; the device's own figures stand in the first.
    fn rows(&self) -> Vec<[String; 6]> {
        let DeviceUsage { device, total, free, holders } = &self.usage;
        let holder = |one: &HolderUsage| (one.backend, one.in_use, one.cached);
        let others = self.unaccounted.map(|bytes| ("others", Some(bytes), Some(0)));
        let holders = holders.iter().map(holder).chain(others);
        let row = |(place, (holder, in_use, cached)): (usize, (&str, _, _))| {
            let of_device = [device.to_string(), show_known(*total), show_known(*free)];
            let [device, total, free] = if place == 0 { of_device } else { Default::default() };
            [device, total, free, holder.to_owned(), show_counted(in_use), show_counted(cached)]
        };
        holders.enumerate().map(row).collect()
    }
}

fn add_problems(text: &mut String, problems: &[String]) {
    for problem in problems {
        let _ = write!(text, "\nnot measured: {}", visible(problem));
    }
}

fn show_known(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), show_size)
}

/// What an allocator counts, where it does.
fn show_counted(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "not counted".to_owned(), show_size)
}

#[cfg(test)]
mod tests {
    use arraybridge::Device;

    use super::*;
    use crate::console::Output;

    fn usage() -> Usage {
        let holder = |backend, in_use, cached| HolderUsage { backend, in_use, cached };
        let gpu = DeviceUsage {
            device: Device::cuda(0),
            total: Some(8 << 30),
            free: Some(5 << 30),
            holders: vec![
                holder("torch", Some(1 << 30), Some(512 << 20)),
                holder("cuda", None, None),
            ],
        };
        let blind = DeviceUsage {
            device: Device::cuda(1),
            total: None,
            free: None,
            holders: vec![holder("torch", Some(0), Some(0))],
        };
        let problems = vec!["total and free memory of cuda:1: \u{1b}[31mno driver".to_owned()];
        Usage { resident: Some(3 << 20), devices: vec![gpu, blind], problems }
    }

    #[test]
    fn each_holder_is_shown_beside_the_device_and_what_nobody_counts() {
        let console = Console::new(Output::plain(std::io::sink()), Output::plain(std::io::sink()));
        let text = HeldMemory::from(usage()).show(&console);
        let row = |holder: &str| {
            let line = text.lines().find(|line| line.contains(holder)).unwrap_or_default();
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(
            row("torch"),
            ["cuda:0", "8.00 GiB", "5.00 GiB", "torch", "1.00 GiB", "512 MiB"]
        );
        assert_eq!(row("not counted"), ["cuda", "not counted", "not counted"]);
        assert_eq!(row("others"), ["others", "1.50 GiB", "0 B"]);
        assert_eq!(row("cuda:1"), ["cuda:1", "unknown", "unknown", "torch", "0 B", "0 B"]);
        assert!(text.contains("process: 3.00 MiB resident"), "{text}");
        assert!(text.contains("not measured: total and free memory of cuda:1"), "{text}");
        assert!(!text.contains('\u{1b}'), "a driver's words do not steer the terminal: {text:?}");
    }

    #[test]
    fn the_json_names_every_figure() {
        let told = serde_json::to_value(HeldMemory::from(usage())).unwrap();
        assert_eq!(
            told["devices"][0],
            serde_json::json!({
                "device": "cuda:0", "total": 8_u64 << 30, "free": 5_u64 << 30,
                "holders": [
                    {"backend": "torch", "in_use": 1 << 30, "cached": 512 << 20},
                    {"backend": "cuda", "in_use": null, "cached": null}],
                "unaccounted": 1536 << 20}),
        );
        assert_eq!(told["devices"][1]["unaccounted"], serde_json::Value::Null);
        assert_eq!(told["process"]["resident"], 3 << 20);
    }

    #[test]
    fn a_containers_limit_is_named_and_an_assumption_is_no_figure() {
        let mut measured = Measured::new(4 << 30, 1 << 30, Source::MemInfo);
        measured.total_from = Source::CgroupV2("/sys/fs/cgroup/job".into());
        let text = HostMemory::of(measured).show();
        let wanted =
            "memory 4.00 GiB (cgroup v2 /sys/fs/cgroup/job), 1.00 GiB available (/proc/meminfo)";
        assert_eq!(text, wanted);

        let mut measured = Measured::new(1 << 30, 1 << 30, Source::Fallback);
        measured.problems = vec!["/proc/meminfo cannot be read".to_owned()];
        let host = HostMemory::of(measured);
        assert_eq!((host.total, host.available), (None, None));
        let text = host.show();
        assert!(text.contains("memory unknown (assumed, not measured)"), "{text}");
        assert!(text.ends_with("\nnot measured: /proc/meminfo cannot be read"), "{text}");
    }
}
