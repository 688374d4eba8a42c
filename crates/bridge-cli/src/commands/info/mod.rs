//! `arraybridge info`: says what is in array files, also in those that cannot be converted.

mod facts;
mod families;
mod show;

use std::path::Path;

use serde::Serialize;

use self::facts::Facts;
use crate::args::InfoArgs;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::{Failure, FailureReport, Outcome};
use crate::formats::Format;
use crate::standard_input::{open, show_input};

/// What `info --json` prints.
#[derive(Debug, Serialize)]
struct Info<'a> {
    files: Vec<File<'a>>,
}

/// What is in one file, or why that cannot be said.
#[derive(Debug, Serialize)]
struct File<'a> {
    file: String,
    #[serde(flatten)]
    found: Found<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Facts(Facts),
    Failure(FailureReport<'a>),
}

pub(crate) fn run(args: &InfoArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    let from = args.reading.from();
    let facts_of = |path, console: &mut Console<'_>| (path, facts_of(path, from, console));
    let read: Vec<_> = args.files.iter().map(|path| facts_of(path.as_path(), console)).collect();
    // As the worst of them; a name that no array file has is wrong usage.
    let failures = read.iter().filter_map(|(_, facts)| facts.as_ref().err());
    let exit = failures.map(Failure::exit).max_by_key(|exit| exit.code()).unwrap_or(Exit::Done);
    if args.json {
        let files = read.iter().map(|(path, facts)| File::new(path, facts)).collect();
        console.print_json(&Info { files })?;
        return Ok(exit);
    }
    let mut is_first = true;
    for (path, facts) in &read {
        match facts {
            Ok(facts) => {
                let shown = show::show(path, facts, args.all, console);
                console.print(&if is_first { shown } else { format!("\n{shown}") })?;
                is_first = false;
            }
            Err(failure) => console.print_failure(failure),
        }
    }
    Ok(exit)
}

/// What `--json` prints of a file that is open.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn in_json(file: &crate::formats::ArrayFile) -> Outcome<String> {
    let facts = Facts::of(file)?;
    serde_json::to_string(&facts).map_err(|error| Failure::new(error.to_string()))
}

fn facts_of(path: &Path, from: Option<Format>, console: &mut Console<'_>) -> Outcome<Facts> {
    let facts = open(path, from, console).and_then(|file| Facts::of(&file));
    facts.map_err(|failure| failure.asked(|| format!("say what is in {}", show_input(path))))
}

impl<'a> File<'a> {
    fn new(path: &Path, facts: &'a Outcome<Facts>) -> Self {
        let found = match facts {
            Ok(facts) => Found::Facts(facts.clone()),
            Err(failure) => Found::Failure(failure.report()),
        };
        Self { file: path.display().to_string(), found }
    }
}
