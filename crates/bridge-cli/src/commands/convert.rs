//! `arraybridge convert`: converts an array file.

use std::time::Instant;

use arraybridge::Shape;

use crate::args::ConvertArgs;
use crate::console::Console;
use crate::convert::{Chain, FileReport, Stream, explain, remarks, select};
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
    let arrays = select(&file, args.conversion.name.as_deref(), Some(format))?;
    let outgoing = arrays
        .iter()
        .map(|(array, name)| Outgoing {
            name: (*name).to_owned(),
            data_type: args.conversion.dtype.unwrap_or(array.spec.data_type),
            shape: Shape::from_slice(array.spec.layout.shape()),
            order: format.order_for(&array.spec.layout),
        })
        .collect();
    let alone = file.nameless && args.conversion.name.is_none();
    let contents = Contents::new(format, outgoing, file.notes.as_ref(), alone)?;
    let plan = explain((&args.input, &file), &arrays, &chain, args.conversion.dtype)?;
    if args.explain && !args.json {
        console.print(&plan.show())?;
    }
    let stream = Stream {
        file: &file,
        chain: &chain,
        room: &room,
        scratch: target.folder(),
        shows_progress: console.shows_progress(),
    };
    let (reports, bytes) = target.write(|new| stream.run(&arrays, &contents, new))?;
    let seconds = started.elapsed().as_secs_f64();
    let report = FileReport::new((&args.input, &args.output), reports, (bytes, seconds), &room)
        .remarking(remarks(&file));
    if args.json {
        console.print_json(&report)?;
    } else {
        console.print(&report.show())?;
    }
    Ok(Exit::Done)
}
