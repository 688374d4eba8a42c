//! Whether the PTX can be assembled for every generation of GPUs, as their driver does at the first use
//! of a kernel, and how long that takes.

use std::fs;
use std::time::{Duration, Instant};

use crate::command::Tool;
use crate::failure::{Failure, Result};
use crate::nvidia_wheels::{PTXAS_12, PTXAS_13, Wheel};
use crate::workspace::Workspace;

/// The assemblers with the architectures that each is asked for.
const ASSEMBLERS: [(Wheel, &[&str]); 2] = [
    (PTXAS_12, &["sm_60", "sm_70", "sm_80", "sm_90", "sm_100", "sm_120"]),
    (PTXAS_13, &["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"]),
];

/// How a kernel begins.
const ENTRY: &str = ".visible .entry ";

/// Assembles each kernel alone, as bridge-cuda loads it. One that does not fit the registers fails.
pub(crate) fn check(workspace: &Workspace, ptx: &str) -> Result<()> {
    let folder = workspace.target.join("ptx");
    let failed = |error: std::io::Error| {
        Failure::new(format!("write to {}", folder.display()), error.to_string(), "make room")
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    let kernels = kernels_of(ptx);
    for (name, module) in &kernels {
        fs::write(folder.join(format!("{name}.ptx")), module).map_err(failed)?;
    }
    for (wheel, architectures) in ASSEMBLERS {
        let assembler = wheel.file(workspace)?;
        for architecture in architectures {
            let mut slowest = (Duration::ZERO, "");
            let started = Instant::now();
            for (name, _) in &kernels {
                let started = Instant::now();
                Tool::new(&assembler, &folder)
                    .args(["--warn-on-spills", "--warning-as-error", "--gpu-name", *architecture])
                    .args([&format!("{name}.ptx"), "--output-file", "kernel.cubin"])
                    .capture()?;
                slowest = slowest.max((started.elapsed(), name.as_str()));
            }
            println!(
                "{architecture}, {}: {} kernels assembled, nothing spilled, in {:.1} s; the slowest \
                 was {} in {:.2} s",
                wheel.folder(),
                kernels.len(),
                started.elapsed().as_secs_f64(),
                slowest.1,
                slowest.0.as_secs_f64()
            );
        }
    }
    Ok(())
}

/// Each kernel's name and its module.
fn kernels_of(ptx: &str) -> Vec<(String, String)> {
    let mut parts = ptx.split(ENTRY);
    let head = parts.next().unwrap_or_default();
    let kernel = |text: &str| {
        let name = text.split('(').next().unwrap_or_default().trim().to_owned();
        (name, [head, ENTRY, text].concat())
    };
    parts.map(kernel).collect()
}

#[cfg(test)]
mod tests {
    use super::kernels_of;

    #[test]
    fn each_kernel_is_a_module_of_its_own() {
        let kernels = kernels_of(".version 8.0\n.visible .entry a(\n{}\n.visible .entry b(\n{}");
        assert_eq!(kernels.len(), 2);
        assert_eq!(kernels[1].0, "b");
        assert_eq!(kernels[1].1, ".version 8.0\n.visible .entry b(\n{}");
    }
}
