//! `cargo xtask fuzz`: gives the program files that nobody would write, made from small real ones by
//! what they let it do.

use std::process::ExitCode;

use clap::Args;

use crate::cargo_tool::CargoTool;
use crate::command::{Environment, Tool};
use crate::failure::{Failure, Result};
use crate::requirement::{Provider, Requirement};
use crate::workspace::Workspace;

const CARGO_FUZZ: CargoTool = CargoTool { name: "fuzz", version: "0.13.2" };

pub(crate) const FUZZ: Requirement = Requirement {
    name: "cargo-fuzz",
    purpose: "reads files that nobody would write (cargo xtask fuzz; needs a nightly toolchain)",
    detect: |workspace| CARGO_FUZZ.detect(workspace),
    remedy: "run `cargo xtask setup cargo-fuzz`",
    install: Some(|workspace| CARGO_FUZZ.install(workspace)),
};

/// Each reads files of one format; `fuzz/seeds` has the files that it begins with.
const TARGETS: [&str; 5] = ["npy", "npz", "safetensors", "pt", "gguf"];

/// Options of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Read files of these formats only
    #[arg(value_parser = TARGETS)]
    formats: Vec<String>,
    /// Go on for so many seconds for each format
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Installs cargo-fuzz where it is missing, and runs it for each format. It fails with the first file that
/// the program does not survive, whose path it prints.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let env = Provider::new(workspace, true)
        .provide(&[&FUZZ])
        .map_err(|lack| Failure::new("run cargo-fuzz", lack.reason, lack.remedy))?;
    let all = TARGETS.map(str::to_owned);
    let chosen = if options.formats.is_empty() { &all[..] } else { &options.formats };
    for format in chosen {
        // libFuzzer keeps what it finds in the first folder, which it does not make.
        let corpus = workspace.root.join("fuzz/corpus").join(format);
        std::fs::create_dir_all(&corpus).map_err(|error| {
            Failure::new(format!("make {}", corpus.display()), error.to_string(), "make room")
        })?;
        target(workspace, &env, format, options.seconds).run()?;
    }
    println!("Every file was read, or refused with a reason.");
    Ok(ExitCode::SUCCESS)
}

fn target(workspace: &Workspace, env: &Environment, format: &str, seconds: u32) -> Tool {
    Tool::new("rustup", &workspace.root)
        .args(["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir", "fuzz", format])
        .args([format!("fuzz/corpus/{format}"), format!("fuzz/seeds/{format}")])
        .args(["--".to_owned(), format!("-max_total_time={seconds}")])
        .args(["-max_len=65536", "-timeout=20", "-rss_limit_mb=2048"])
        .envs(env)
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, target};
    use crate::command::Environment;
    use crate::workspace::Workspace;
    use crate::workspace::tests::example;

    #[test]
    fn the_time_and_the_files_to_begin_with_reach_the_fuzzer() {
        let line = target(&example(), &Environment::new(), "npz", 7).line();
        assert!(line.contains("fuzz/seeds/npz") && line.contains("-max_total_time=7"), "{line}");
    }

    #[test]
    fn each_format_has_a_program_and_files_to_begin_with() {
        let fuzz = Workspace::find().expect("this workspace").root.join("fuzz");
        for format in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{format}.rs")).is_file(), "{format}");
            assert!(fuzz.join("seeds").join(format).read_dir().expect("seeds").count() > 0);
        }
    }
}
