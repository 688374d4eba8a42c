//! What the machine is.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine that a report comes from.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// One line a GPU: name, driver, memory, PCIe generation and width. Empty without a driver.
    pub(crate) gpus: Vec<String>,
    pub(crate) processor: Option<String>,
    pub(crate) processors: Option<usize>,
    pub(crate) system: Option<String>,
    /// The Python that the peers run in, and the version of its torch.
    pub(crate) python: Option<String>,
}

const QUERY: &str =
    "--query-gpu=name,driver_version,memory.total,pcie.link.gen.max,pcie.link.width.max";
const PYTHON: &str = "import sys, torch; print(sys.version.split()[0], 'torch', torch.__version__)";

impl Machine {
    pub(crate) fn find() -> Self {
        let gpus = said("nvidia-smi", &[QUERY, "--format=csv,noheader"]).unwrap_or_default();
        Self {
            gpus: gpus.lines().map(|line| line.trim().to_owned()).collect(),
            processor: processor(),
            processors: std::thread::available_parallelism().ok().map(usize::from),
            system: said("uname", &["-sr"]),
            python: said(&python(), &["-c", PYTHON]),
        }
    }
}

/// The Python that the benchmarks ask.
pub(crate) fn python() -> String {
    std::env::var("ARRAYBRIDGE_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn processor() -> Option<String> {
    let described = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = described.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// What a program prints, where it can be run and succeeds.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}
