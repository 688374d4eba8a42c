//! Which part of a file is converted, and what its arrays are called then.

use std::collections::HashMap;

use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::formats::ArrayFile;

/// How many names an error lists.
const LISTED: usize = 20;

/// Which part of a file to convert, and what arrays are called in the new one.
#[derive(Debug, Default, Args)]
pub(crate) struct NamingArgs {
    /// Convert only this part, as model_state_dict of a checkpoint: what is called so or begins with it and
    /// a dot, which is taken off
    #[arg(long, value_name = "PART")]
    key: Option<String>,
    /// Take this off the beginning of names, as module.
    #[arg(long, value_name = "PREFIX")]
    strip_prefix: Option<String>,
    /// Let names that begin with OLD begin with NEW, as encoder.=model.encoder.; can be given several times,
    /// and the first that fits is taken
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_rename)]
    rename: Vec<(String, String)>,
}

fn parse_rename(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or("it has no =, as in OLD=NEW")?;
    if old.is_empty() {
        return Err("what names begin with is empty, as in OLD=NEW".to_owned());
    }
    Ok((old.to_owned(), new.to_owned()))
}

impl NamingArgs {
    /// What these options and their values say, of which others may be among them.
    pub(crate) fn of(options: &[(&str, &str)]) -> Self {
        let values = |name: &'static str| {
            options.iter().filter(move |(option, _)| *option == name).map(|(_, value)| *value)
        };
        Self {
            key: values("key").next_back().map(str::to_owned),
            strip_prefix: values("strip-prefix").next_back().map(str::to_owned),
            rename: values("rename").filter_map(|value| parse_rename(value).ok()).collect(),
        }
    }

    fn changes_names(&self) -> bool {
        self.key.is_some() || self.strip_prefix.is_some() || !self.rename.is_empty()
    }

    /// Takes the part, and gives its arrays their new names, of which no two are the same.
    pub(crate) fn apply(&self, file: &mut ArrayFile) -> Outcome<()> {
        if !self.changes_names() {
            return Ok(());
        }
        if file.nameless {
            return Err(Failure::usage("the file is one array without a name")
                .why("--key, --strip-prefix and --rename are about names")
                .remedy("leave them out, or give the array a name with --name"));
        }
        let before: Vec<String> = file.arrays.iter().map(|array| array.name.clone()).collect();
        let mut old_names: Vec<String> = Vec::new();
        let mut place = 0;
        // What cannot be converted is in the part or not, as the arrays are.
        file.refusals.retain_mut(|refusal| {
            self.new_name(&refusal.name).map(|name| refusal.name = name).is_some()
        });
        file.arrays.retain_mut(|array| {
            let old = &before[place];
            place += 1;
            let Some(name) = self.new_name(old) else {
                return false;
            };
            array.name = name;
            old_names.push(old.clone());
            true
        });
        self.check_used(&before)?;
        let mut taken: HashMap<&str, &str> = HashMap::new();
        for (array, old) in file.arrays.iter().zip(&old_names) {
            if array.name.is_empty() {
                return Err(Failure::usage(format!("the array \"{old}\" would have no name"))
                    .why("--strip-prefix or --rename takes all of it away")
                    .remedy("take less of it away"));
            }
            if let Some(other) = taken.insert(&array.name, old) {
                let found =
                    format!("\"{other}\" and \"{old}\" would both be called \"{}\"", array.name);
                return Err(Failure::usage(found)
                    .why("one of them would be lost")
                    .remedy("convert a part with --key, or give one another name with --rename"));
            }
        }
        Ok(())
    }

    /// What is now called so, where it is in the part.
    fn new_name(&self, name: &str) -> Option<String> {
        let mut name = self.in_part(name)?;
        if let Some(rest) = self.strip_prefix.as_deref().and_then(|it| name.strip_prefix(it)) {
            name = rest;
        }
        let renamed = self.rename.iter().find_map(|(old, new)| {
            name.strip_prefix(old.as_str()).map(|rest| format!("{new}{rest}"))
        });
        Some(renamed.unwrap_or_else(|| name.to_owned()))
    }

    /// The name within the part; the last of its own name where it is the part itself.
    fn in_part<'a>(&self, name: &'a str) -> Option<&'a str> {
        let Some(key) = &self.key else {
            return Some(name);
        };
        match name.strip_prefix(key.as_str())? {
            "" => Some(name.rsplit('.').next().unwrap_or(name)),
            rest => rest.strip_prefix('.'),
        }
    }

    /// Fails for a part that is not there, and for a prefix that nothing begins with.
    fn check_used(&self, names: &[String]) -> Outcome<()> {
        let in_part: Vec<&str> = names.iter().filter_map(|name| self.in_part(name)).collect();
        if let (Some(key), true) = (&self.key, in_part.is_empty()) {
            return Err(Failure::usage(format!("the file has no arrays in \"{key}\""))
                .why(format!("it has {}", parts_of(names)))
                .remedy("give one of these with --key"));
        }
        let prefix = self.strip_prefix.as_deref();
        if let Some(prefix) = prefix.filter(|it| !in_part.iter().any(|name| name.starts_with(it))) {
            return Err(no_such_prefix("--strip-prefix", prefix, &in_part));
        }
        let stripped = |name: &'_ str| -> String {
            prefix.and_then(|it| name.strip_prefix(it)).unwrap_or(name).to_owned()
        };
        let stripped: Vec<String> = in_part.iter().map(|name| stripped(name)).collect();
        for (old, _) in &self.rename {
            if !stripped.iter().any(|name| name.starts_with(old)) {
                let names: Vec<&str> = stripped.iter().map(String::as_str).collect();
                return Err(no_such_prefix("--rename", old, &names));
            }
        }
        Ok(())
    }
}

fn no_such_prefix(option: &str, prefix: &str, names: &[&str]) -> Failure {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("\"{name}\"")).collect();
    Failure::usage(format!("no name begins with \"{prefix}\", which {option} is about"))
        .why(format!("there are names as {}", shown.join(", ")))
        .remedy("give what names begin with, as they are after --key and --strip-prefix")
}

/// What names have before their first dot.
fn parts_of(names: &[String]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for name in names {
        let part = name.split('.').next().unwrap_or(name);
        if parts.last() != Some(&part) && !parts.contains(&part) {
            parts.push(part);
        }
        if parts.len() > LISTED {
            break;
        }
    }
    let shown: Vec<String> = parts.iter().take(LISTED).map(|part| format!("\"{part}\"")).collect();
    match (shown.is_empty(), parts.len() > LISTED) {
        (true, _) => "no arrays at all".to_owned(),
        (false, true) => format!("{} and more", shown.join(", ")),
        (false, false) => shown.join(", "),
    }
}
