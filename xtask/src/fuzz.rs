//! `cargo xtask fuzz`: gives the program files that nobody would write, and the library such DLPack descriptors,
//! made from small real ones by what they let it do.

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

/// Files of one format each, in memory.
const FORMATS: [&str; 5] = ["npy", "npz", "safetensors", "pt", "gguf"];

/// What there is to read: besides those, DLPack descriptors, and files by the whole program. `fuzz/seeds` has
/// what each begins with; the program begins with that of all formats.
const TARGETS: [&str; 7] = ["npy", "npz", "safetensors", "pt", "gguf", "dlpack", "program"];

/// How long a target is run where nothing else is said.
const SECONDS: u32 = 60;

/// Options of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Read these only
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// Go on for so many seconds with each; 60 without --executions
    #[arg(long)]
    seconds: Option<u32>,
    /// Stop each after so many inputs
    #[arg(long)]
    executions: Option<u64>,
    /// Build without AddressSanitizer: several times as fast, and all that safe code can do wrong still shows
    #[arg(long)]
    no_sanitizer: bool,
}

/// Installs cargo-fuzz where it is missing, and runs it for each target. It fails with the first input that
/// is not survived, whose path it prints.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let env = Provider::new(workspace, true)
        .provide(&[&FUZZ])
        .map_err(|lack| Failure::new("run cargo-fuzz", lack.reason, lack.remedy))?;
    let all = TARGETS.map(str::to_owned);
    let chosen = if options.targets.is_empty() { &all[..] } else { &options.targets };
    for name in chosen {
        // libFuzzer keeps what it finds in the first folder, which it does not make.
        let corpus = workspace.root.join("fuzz/corpus").join(name);
        std::fs::create_dir_all(&corpus).map_err(|error| {
            Failure::new(format!("make {}", corpus.display()), error.to_string(), "make room")
        })?;
        target(workspace, &env, name, options).run()?;
    }
    println!("Everything was read, or refused with a reason.");
    Ok(ExitCode::SUCCESS)
}

fn target(workspace: &Workspace, env: &Environment, name: &str, options: &Options) -> Tool {
    let fuzz = ["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir", "fuzz"];
    // Numbers that overflow are a fault wherever they are read.
    let build = ["--release", "--debug-assertions"];
    let sanitizer = options.no_sanitizer.then_some(["--sanitizer", "none"]);
    let seeds = match name {
        "program" => &FORMATS[..],
        name => &[name],
    };
    let limit = |flag: &str, most: Option<u64>| most.map(|most| format!("-{flag}={most}"));
    let seconds = options.seconds.or(options.executions.is_none().then_some(SECONDS));
    Tool::new("rustup", &workspace.root)
        .args(fuzz)
        .args(build)
        .args(sanitizer.into_iter().flatten())
        .args([name.to_owned(), format!("fuzz/corpus/{name}")])
        .args(seeds.iter().map(|seeds| format!("fuzz/seeds/{seeds}")))
        .args(["--".to_owned(), format!("-max_len={}", longest(name))])
        .args(limit("max_total_time", seconds.map(u64::from)))
        .args(limit("runs", options.executions))
        .args(["-timeout=20", "-rss_limit_mb=2048"])
        .envs(env)
}

/// The most bytes of an input: longer ones take longer, and most of them say nothing new.
fn longest(name: &str) -> usize {
    match name {
        "program" => 64 << 10,
        "dlpack" => 512,
        _ => 8 << 10,
    }
}

#[cfg(test)]
mod tests {
    use super::{FORMATS, Options, TARGETS, target};
    use crate::command::Environment;
    use crate::workspace::Workspace;
    use crate::workspace::tests::example;

    fn line(
        name: &str,
        seconds: Option<u32>,
        executions: Option<u64>,
        no_sanitizer: bool,
    ) -> String {
        let options = Options { targets: Vec::new(), seconds, executions, no_sanitizer };
        target(&example(), &Environment::new(), name, &options).line()
    }

    #[test]
    fn the_limits_and_what_it_begins_with_reach_the_fuzzer() {
        let timed = line("npz", Some(7), None, false);
        assert!(timed.contains("fuzz/seeds/npz") && timed.contains("-max_total_time=7"), "{timed}");
        assert!(!timed.contains("-runs") && !timed.contains("--sanitizer"), "{timed}");
        let counted = line("dlpack", None, Some(9), true);
        assert!(counted.contains("-runs=9") && counted.contains("--sanitizer none"), "{counted}");
        assert!(!counted.contains("-max_total_time"), "{counted}");
        let both = line("pt", Some(7), Some(9), false);
        assert!(both.contains("-runs=9") && both.contains("-max_total_time=7"), "{both}");
        assert!(line("pt", None, None, false).contains("-max_total_time=60"));
    }

    #[test]
    fn the_program_begins_with_files_of_every_format() {
        let line = line("program", None, None, false);
        for format in FORMATS {
            assert!(line.contains(&format!("fuzz/seeds/{format}")), "{line}");
        }
    }

    #[test]
    fn each_target_has_a_program_and_each_format_files_to_begin_with() {
        let fuzz = Workspace::find().expect("this workspace").root.join("fuzz");
        for target in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{target}.rs")).is_file(), "{target}");
        }
        for seeds in FORMATS.into_iter().chain(["dlpack"]) {
            let files = fuzz.join("seeds").join(seeds).read_dir().expect("seeds");
            assert!(files.count() > 0, "{seeds}");
        }
    }
}
