//! Which arrays of a file are converted, and what they are called in the new one.

use crate::failure::{Failure, Outcome};
use crate::formats::{Array, ArrayFile, Format, RefusalKind};

/// How many names an error lists.
const LISTED: usize = 20;

/// The arrays to convert, each with its new name: all, or the one that `name` names.
pub(crate) fn select<'a>(
    file: &'a ArrayFile,
    name: Option<&'a str>,
    target: Option<Format>,
) -> Outcome<Vec<(&'a Array, &'a str)>> {
    let mut refused = file.refusals.iter().filter(|refusal| {
        refusal.kind != RefusalKind::Beside
            && (file.nameless || name.is_none_or(|it| it == refusal.name))
    });
    if let Some(refusal) = refused.next() {
        return Err(refusal.failure.clone());
    }
    let selected: Vec<_> = match name {
        None => file.arrays.iter().map(|array| (array, array.name.as_str())).collect(),
        Some(name) if !file.nameless => {
            let found = file.arrays.iter().find(|array| array.name == name);
            let array = found.ok_or_else(|| {
                Failure::usage(format!("the file has no array \"{name}\""))
                    .why(listed(file))
                    .remedy("give one of these names with --name")
            })?;
            vec![(array, name)]
        }
        // The one array without a name gets one.
        Some(name) => file.arrays.iter().map(|array| (array, name)).collect(),
    };
    if target == Some(Format::Npy) && selected.len() != 1 {
        return Err(Failure::usage(format!("the file has {} arrays", selected.len()))
            .why(format!("an .npy file holds exactly one; {}", listed(file)))
            .remedy("name the one to convert with --name, or write an .npz or .safetensors file"));
    }
    Ok(selected)
}

fn listed(file: &ArrayFile) -> String {
    if file.arrays.is_empty() {
        return "it has none".to_owned();
    }
    let names = file.arrays.iter().take(LISTED);
    let names: Vec<String> = names.map(|array| format!("\"{}\"", array.name)).collect();
    let more = file.arrays.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("it has {}{more}", names.join(", "))
}
