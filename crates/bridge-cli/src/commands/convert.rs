//! `arraybridge convert`: converts an array file.

use std::time::Instant;

use arraybridge::Shape;

use crate::args::ConvertArgs;
use crate::console::Console;
use crate::convert::{Chain, FileReport, Stream, explain, read_as, remarks, select, show_skipped};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::formats::{ArrayFile, Contents, Format, Outgoing, TargetFile};
use crate::room::Room;

pub(crate) fn run(args: &ConvertArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    convert(args, console).map_err(|failure| {
        failure.asked(|| {
            let (input, output) = (args.input.display(), args.output.display());
            format!("convert {input} to {output}")
        })
    })
}

fn convert(args: &ConvertArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    let started = Instant::now();
    // What can be wrong with the command line comes first, then the input, then the output.
    let format = Format::of(&args.output)?;
    let chain = Chain::new(&args.conversion)?;
    let room = Room::new(args.conversion.memory_limit)?;
    let target = TargetFile::new(&args.output, &args.input, !args.no_clobber)?;
    let mut file = ArrayFile::open(&args.input)?;
    target.check_is_none_of(file.paths())?;
    args.conversion.naming.apply(&mut file)?;
    let selection = select(&file, &args.conversion)?;
    let read_as = read_as(&selection.arrays, &args.conversion)?;
    let mut selection = selection.read_as(&read_as)?;
    let chain = chain.for_arrays(selection.arrays.len());
    let outgoing = selection.outgoing(format, |array, name| Outgoing {
        name: name.to_owned(),
        data_type: chain.casts().of(array.spec.data_type).unwrap_or(array.spec.data_type),
        shape: Shape::from_slice(array.spec.layout.shape()),
        order: format.order_for(&array.spec.layout),
    })?;
    let arrays = &selection.arrays;
    let alone = file.nameless && args.conversion.name.is_empty();
    let contents = Contents::new(format, outgoing, file.notes.as_ref(), alone)?;
    let plan = explain((&args.input, &file), arrays, &chain)?.without(&selection.skipped);
    if args.explain && !args.json {
        console.print(&plan.show())?;
    }
    let stream = Stream {
        file: &file,
        chain: &chain,
        room: &room,
        scratch: target.folder(),
        shows_progress: console.shows_progress() && !args.quiet,
    };
    let (reports, bytes) = target.write(|new| stream.run(arrays, &contents, new))?;
    let seconds = started.elapsed().as_secs_f64();
    let report = FileReport::new((&args.input, &args.output), reports, (bytes, seconds), &room)
        .remarking(remarks(&file, Some(format)))
        .without(&selection.skipped);
    if args.json {
        console.print_json(&report)?;
    } else if !args.quiet {
        console.print(&report.show())?;
        if let Some(skipped) = show_skipped(&selection.skipped) {
            console.note(&skipped);
        }
    }
    Ok(Exit::Done)
}
