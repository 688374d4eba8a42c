//! `arraybridge plan`: explains a conversion without doing it.

use crate::args::PlanArgs;
use crate::console::Console;
use crate::convert::{Chain, check_room, explain, read_as, select};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::room::Room;
use crate::standard_input::{open, show_input};

pub(crate) fn run(args: &PlanArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    plan(args, console).map_err(|failure| {
        failure.asked(|| format!("plan the conversion of {}", show_input(&args.input)))
    })
}

fn plan(args: &PlanArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    let chain = Chain::new(&args.conversion)?;
    let mut file = open(&args.input, args.reading.from(), console)?;
    args.conversion.naming.apply(&mut file)?;
    let selection = select(&file, &args.conversion)?;
    let read_as = read_as(&selection.arrays, &args.conversion)?;
    let selection = selection.read_as(&read_as)?;
    let arrays = &selection.arrays;
    let chain = chain.for_arrays(arrays.len());
    let report = explain((&args.input, &file), arrays, &chain)?.without(&selection.skipped);
    if args.conversion.memory_limit.is_some() {
        let room = Room::new(args.conversion.memory_limit)?;
        check_room(&file, arrays, &chain, &room)?;
    }
    if args.json {
        console.print_json(&report)?;
    } else {
        console.print(&report.show())?;
    }
    Ok(Exit::Done)
}
