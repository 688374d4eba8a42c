//! The host's memory, of `/proc/meminfo`.

use super::proc_files::{ProcFiles, kilobytes};

const PATH: &str = "/proc/meminfo";

/// What `/proc/meminfo` says, in bytes.
pub(super) struct MemInfo {
    pub(super) total: Option<u64>,
    pub(super) available: Option<u64>,
    /// What is wrong with the file.
    pub(super) problems: Vec<String>,
}

impl MemInfo {
    /// Swap is not counted: arrays in swap are as slow as the disk.
    pub(super) fn read(files: &ProcFiles) -> Self {
        let text = match files.told(PATH) {
            Ok(text) => text,
            Err(problem) => {
                return Self { total: None, available: None, problems: vec![problem] };
            }
        };
        let mut problems = Vec::new();
        let total = kilobytes(&text, "MemTotal");
        if total.is_none() {
            problems.push(format!("{PATH} has no valid MemTotal"));
        }
        let available = kilobytes(&text, "MemAvailable").or_else(|| {
            // Kernels before 3.14 have none. Free memory is less than what could be had.
            let free = kilobytes(&text, "MemFree");
            let instead =
                if free.is_some() { ": MemFree stands in for it" } else { ", nor MemFree" };
            problems.push(format!("{PATH} has no valid MemAvailable{instead}"));
            free
        });
        Self { total, available, problems }
    }
}
