//! `arraybridge diff`: says in what the arrays of two files differ.

mod compare;
mod numbers;
mod report;

use std::collections::HashMap;
use std::path::Path;

use self::compare::compare;
use self::report::{DiffReport, Difference, Ends, Left};
use crate::args::DiffArgs;
use crate::console::Console;
use crate::convert::{Choice, Selection, select};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::formats::{Array, ArrayFile};
use crate::standard_input::{open, show_input};

/// What counts as equal.
#[derive(Debug, Clone, Copy)]
struct Rules {
    relative: f64,
    absolute: f64,
    nan_differs: bool,
    ignores_types: bool,
}

/// A file and what is compared of it.
struct Side<'a> {
    path: &'a Path,
    file: &'a ArrayFile,
    selection: Selection<'a>,
}

pub(crate) fn run(args: &DiffArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    diff(args, console).map_err(|failure| {
        let asked = || format!("compare {} with {}", show_input(&args.a), show_input(&args.b));
        // As for `diff` and `cmp`, 1 says that there is a difference.
        failure.asked(asked).into_wrong_usage()
    })
}

fn diff(args: &DiffArgs, console: &mut Console<'_>) -> Outcome<Exit> {
    let [a, b] = [&args.a, &args.b].map(|path| open(path, None, console));
    let (a, b) = (a.map_err(within(&args.a))?, b.map_err(within(&args.b))?);
    let choice = Choice { names: &args.name, may_skip: args.skip_unsupported, must_exist: false };
    let side = |path, file| -> Outcome<Side<'_>> {
        let selection = select(file, choice).map_err(within(path))?;
        Ok(Side { path, file, selection })
    };
    let (a, b) = (side(&args.a, &a)?, side(&args.b, &b)?);
    if a.selection.arrays.is_empty() && b.selection.arrays.is_empty() && !args.name.is_empty() {
        return Err(Failure::usage("neither file has an array of that name")
            .why("there is nothing to compare")
            .remedy("give a name that `arraybridge info` lists, or leave --name out"));
    }
    let rules = Rules {
        relative: args.rtol,
        absolute: args.atol,
        nan_differs: args.nan_differs,
        ignores_types: args.ignore_dtype,
    };
    let report = report_on(&a, &b, rules)?;
    if args.json {
        console.print_json(&report)?;
    } else if !args.quiet {
        console.print(&report.show())?;
    }
    Ok(if report.equal { Exit::Done } else { Exit::Different })
}

fn within(path: &Path) -> impl Fn(Failure) -> Failure {
    let shown = show_input(path);
    move |failure| failure.within_unless_named(&shown, &shown)
}

fn report_on(a: &Side<'_>, b: &Side<'_>, rules: Rules) -> Outcome<DiffReport> {
    let (pairs, mut differences) = pairs(a, b)?;
    for (name, first, second) in &pairs {
        let within = |failure: Failure| failure.within(&format!("the array \"{name}\""));
        differences.extend(
            differences_of(name, (a.file, first), (b.file, second), rules).map_err(within)?,
        );
    }
    let shown = |side: &Side<'_>| side.path.display().to_string();
    let skipped = |side: &Side<'_>| {
        let file = shown(side);
        let skipped = side.selection.skipped.iter();
        skipped.map(|one| Left::new(&file, one)).collect::<Vec<_>>()
    };
    Ok(DiffReport {
        a: shown(a),
        b: shown(b),
        equal: differences.is_empty(),
        compared: pairs.len(),
        skipped: [skipped(a), skipped(b)].concat(),
        differences,
    })
}

type Pair<'a> = (&'a str, &'a Array, &'a Array);

/// The arrays that have one name, and those that are in one file only. An array without a name is
/// compared with the only one of the other file.
fn pairs<'a>(a: &'a Side<'_>, b: &'a Side<'_>) -> Outcome<(Vec<Pair<'a>>, Vec<Difference>)> {
    let nameless = a.file.nameless || b.file.nameless;
    match (a.selection.arrays.as_slice(), b.selection.arrays.as_slice()) {
        (&[(first, name)], &[(second, other)]) if nameless => {
            let name = if b.file.nameless { name } else { other };
            return Ok((vec![(name, first, second)], Vec::new()));
        }
        (first, second) if nameless => {
            let many = if first.len() == 1 { second.len() } else { first.len() };
            return Err(Failure::usage(format!("one file has {many} arrays"))
                .why("that of the other has no name, so that nobody knows which it is")
                .remedy("say which to compare, with --name"));
        }
        _ => {}
    }
    let others: HashMap<&str, &Array> =
        b.selection.arrays.iter().map(|&(array, name)| (name, array)).collect();
    let (mut pairs, mut differences) = (Vec::new(), Vec::new());
    for &(array, name) in &a.selection.arrays {
        match others.get(name) {
            Some(other) => pairs.push((name, array, *other)),
            None => differences.push(Difference::OnlyInA { name: name.to_owned() }),
        }
    }
    let ours: HashMap<&str, ()> = a.selection.arrays.iter().map(|&(_, name)| (name, ())).collect();
    for &(_, name) in &b.selection.arrays {
        if !ours.contains_key(name) {
            differences.push(Difference::OnlyInB { name: name.to_owned() });
        }
    }
    Ok((pairs, differences))
}

fn differences_of(
    name: &str,
    a: (&ArrayFile, &Array),
    b: (&ArrayFile, &Array),
    rules: Rules,
) -> Outcome<Vec<Difference>> {
    let name = name.to_owned();
    let (first, second) = (&a.1.spec, &b.1.spec);
    let mut differences = Vec::new();
    if first.data_type != second.data_type && !rules.ignores_types {
        let types = Ends { a: first.data_type.to_string(), b: second.data_type.to_string() };
        differences.push(Difference::Dtype { name: name.clone(), types });
    }
    if first.layout.shape() != second.layout.shape() {
        let shapes = Ends { a: first.layout.shape().to_vec(), b: second.layout.shape().to_vec() };
        differences.push(Difference::Shape { name, shapes });
        return Ok(differences);
    }
    let is_raw = a.1.is_raw() || b.1.is_raw();
    if is_raw && first.data_type.size_in_bytes() != second.data_type.size_in_bytes() {
        // Nobody knows which bytes of one would be those of the other.
        if differences.is_empty() {
            let types = Ends { a: first.data_type.to_string(), b: second.data_type.to_string() };
            differences.push(Difference::Dtype { name, types });
        }
        return Ok(differences);
    }
    let in_bytes = (a.1.in_bytes(), b.1.in_bytes());
    let (a, b) = match &in_bytes {
        (Some(first), Some(second)) if is_raw => ((a.0, first), (b.0, second)),
        _ => (a, b),
    };
    if let Some(values) = compare(a, b, rules)? {
        differences.push(Difference::Values { name, values: Box::new(values) });
    }
    Ok(differences)
}
