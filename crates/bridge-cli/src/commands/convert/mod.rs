//! `arraybridge convert`: converts array files.

mod destination;
mod folder;
mod one;

use self::destination::Destination;
use self::one::Job;
use crate::args::ConvertArgs;
use crate::console::Console;
use crate::convert::show_skipped;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::standard_input::show_input;

pub(crate) fn run(args: &ConvertArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    convert(args, console).map_err(|failure| {
        failure.asked(|| {
            let input = match args.inputs.as_slice() {
                [one] => show_input(one),
                many => format!("{} files", many.len()),
            };
            format!("convert {input} to {}", destination::show(&args.output))
        })
    })
}

fn convert(args: &ConvertArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    let destination = Destination::of(args)?;
    let (input, format) = match (destination, args.inputs.as_slice()) {
        (Destination::Folder(format), _) => return folder::convert(args, format, console),
        (Destination::File(format) | Destination::StandardOutput(format), [input]) => {
            (input, format)
        }
        (_, inputs) => return Err(destination::not_one(inputs.len(), &args.output)),
    };
    let is_stream = matches!(destination, Destination::StandardOutput(_));
    if is_stream {
        destination::check_standard_output(input, console)?;
    }
    let job = Job { input, output: &args.output, format, is_stream, label: "", folder: None };
    let report = job.run(args, console)?;
    if args.json {
        job.tell_json(&report, console)?;
    } else if !args.quiet {
        job.tell(&report.show(), console)?;
        if let Some(skipped) = show_skipped(&report.skipped) {
            console.note(&skipped);
        }
    }
    Ok(Exit::Done)
}
