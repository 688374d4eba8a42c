//! `arraybridge plan`: explains a conversion without doing it.

use crate::args::PlanArgs;
use crate::console::Console;
use crate::convert::{Chain, check_room, explain, read_as, select};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::formats::{ArrayFile, Format};
use crate::room::Room;

pub(crate) fn run(args: &PlanArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    plan(args, console).map_err(|failure| {
        failure.asked(|| format!("plan the conversion of {}", args.input.display()))
    })
}

fn plan(args: &PlanArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    Format::of(&args.input)?;
    let chain = Chain::new(&args.conversion)?;
    let file = ArrayFile::open(&args.input)?;
    let arrays = select(&file, args.conversion.name.as_deref(), None)?;
    let read_as = read_as(&arrays, &args.conversion)?;
    let arrays = match &read_as {
        Some(read_as) => read_as.iter().zip(arrays.iter().map(|(_, name)| *name)).collect(),
        None => arrays,
    };
    let chain = chain.for_arrays(arrays.len());
    let report = explain((&args.input, &file), &arrays, &chain)?;
    if args.conversion.memory_limit.is_some() {
        let room = Room::new(args.conversion.memory_limit)?;
        check_room(&file, &arrays, &chain, &room)?;
    }
    if args.json {
        console.print_json(&report)?;
    } else {
        console.print(&report.show())?;
    }
    Ok(Exit::Done)
}
