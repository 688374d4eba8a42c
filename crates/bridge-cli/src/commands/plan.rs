//! `arraybridge plan`: explains a conversion without doing it.

use std::process::ExitCode;

use crate::args::PlanArgs;
use crate::convert::{Chain, explain, select};
use crate::failure::Outcome;
use crate::formats::{ArrayFile, Format};
use crate::output;

pub(crate) fn run(args: &PlanArgs) -> Outcome<ExitCode> {
    planned(args).map_err(|failure| {
        failure.asked(|| format!("plan the conversion of {}", args.input.display()))
    })
}

fn planned(args: &PlanArgs) -> Outcome<ExitCode> {
    Format::of(&args.input)?;
    let chain = Chain::new(&args.conversion)?;
    let file = ArrayFile::open(&args.input)?;
    let arrays = select(&file, args.conversion.name.as_deref(), None)?;
    let report = explain((&args.input, &file), &arrays, &chain, args.conversion.dtype)?;
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.show())?;
    }
    Ok(ExitCode::SUCCESS)
}
