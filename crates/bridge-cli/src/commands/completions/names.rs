//! `complete-names`: what a shell asks for where `--name` or `--key` is completed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::line::Line;
use crate::args::FormatArg;
use crate::console::Console;
use crate::convert::NamingArgs;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::formats::{ArrayFile, Format};
use crate::standard_input::is_standard;

/// How many files a pattern stands for at most.
const MOST_FILES: usize = 64;

/// What a shell has of the command line. Either the line as it is typed, or its words.
#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// The line up to the cursor, as bash has it
    #[arg(long, allow_hyphen_values = true, conflicts_with = "words")]
    before: Option<String>,
    /// The rest of the line
    #[arg(long, allow_hyphen_values = true, default_value = "")]
    after: String,
    /// The end of the line up to the cursor that will be replaced
    #[arg(long, allow_hyphen_values = true, default_value = "")]
    word: String,
    /// The option whose value is completed
    #[arg(long, required_unless_present = "before")]
    option: Option<NameOption>,
    /// The words of the line but for the program, without the one that is completed
    #[arg(last = true)]
    words: Vec<String>,
}

/// An option that takes a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NameOption {
    Name,
    Key,
}

impl NameOption {
    const fn written(self) -> &'static str {
        match self {
            Self::Name => "--name",
            Self::Key => "--key",
        }
    }
}

/// Prints the names that can stand there, a line each. Nothing that is wrong is told: it would be written
/// between what the user types. The exit code is 1 where no name is completed.
pub(crate) fn complete(
    args: &NamesArgs,
    program: &clap::Command,
    console: &mut Console<'_>,
) -> Outcome<Exit> {
    let names = match (&args.before, args.option) {
        (Some(before), _) => match on_line(before, args, program) {
            Some(names) => names,
            None => return Ok(Exit::Failed),
        },
        (None, Some(option)) => Named::on(&args.words, program).values(option, ""),
        (None, None) => Vec::new(),
    };
    if !names.is_empty() {
        console.print(&names.join("\n"))?;
    }
    Ok(Exit::Done)
}

/// The values as bash is to write them in place of the word; none where the cursor is not at one.
fn on_line(before: &str, args: &NamesArgs, program: &clap::Command) -> Option<Vec<String>> {
    let line = Line::read(before);
    let (option, written) = [NameOption::Name, NameOption::Key].into_iter().find_map(|option| {
        let is_behind = line.words.last().is_some_and(|word| word == option.written());
        let written = format!("{}=", option.written());
        if is_behind {
            return Some((option, String::new()));
        }
        line.last.starts_with(&written).then_some((option, written))
    })?;
    let begun = line.last.strip_prefix(&written)?;

    // What is typed behind the cursor belongs to the word up to the next space.
    let rest = args.after.find(|letter: char| letter.is_ascii_whitespace());
    let rest = Line::read(rest.map_or("", |rest| args.after.get(rest..).unwrap_or_default()));
    let words: Vec<String> = line
        .words
        .into_iter()
        .skip(1)
        .chain([line.last.clone()])
        .chain(rest.words)
        .chain([rest.last])
        .collect();

    // The shell replaces the word, which need not be all of the value: it may begin behind a colon.
    let kept = before.strip_suffix(args.word.as_str()).or_else(|| before.get(..line.start))?;
    let kept = Line::read(kept);
    let replaced = |name: String| {
        let whole = format!("{written}{name}");
        whole.strip_prefix(kept.last.as_str()).map(|rest| kept.quote.quoted(rest))
    };
    let values = Named::on(&words, program).values(option, begun);
    Some(values.into_iter().filter_map(replaced).collect())
}

/// What a command line names.
#[derive(Debug, Default)]
struct Named {
    files: Vec<PathBuf>,
    naming: NamingArgs,
    from: Option<Format>,
}

impl Named {
    /// Reads words that need not be a whole command line, nor a right one.
    fn on(words: &[String], program: &clap::Command) -> Self {
        let mut words = words.iter().map(String::as_str);
        let command = words.find(|word| !word.starts_with('-'));
        let Some(command) = command.and_then(|name| program.find_subcommand(name)) else {
            return Self::default();
        };
        let takes_value = |long: &str| {
            let arg = command.get_opts().find(|arg| arg.get_long() == Some(long));
            arg.is_some_and(|arg| arg.get_action().takes_values())
        };
        let (mut files, mut options) = (Vec::new(), Vec::new());
        let mut are_files = false;
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                _ if are_files => files.push(word),
                Some("") => are_files = true,
                Some(option) => match option.split_once('=') {
                    Some(option) => options.push(option),
                    None if takes_value(option) => {
                        options.extend(words.next().map(|value| (option, value)));
                    }
                    None => {}
                },
                None if word.is_empty() || is_standard(Path::new(word)) => {}
                None if word.starts_with('-') => {}
                None => files.push(word),
            }
        }
        let writes = command.get_positionals().any(|arg| arg.get_id() == "output");
        if writes && files.len() > 1 {
            files.pop();
        }
        let value = |name: &str| options.iter().rev().find(|(option, _)| *option == name);
        Self {
            files: files.into_iter().flat_map(paths_of).collect(),
            from: value("from")
                .and_then(|(_, format)| FormatArg::from_str(format, true).ok())
                .map(Format::from),
            naming: NamingArgs::of(&options),
        }
    }

    /// The values of the option that begin so, each once.
    fn values(&self, option: NameOption, begun: &str) -> Vec<String> {
        let mut values = Vec::new();
        let mut seen = HashSet::new();
        for path in &self.files {
            let Ok(mut file) = ArrayFile::open(path, self.from) else { continue };
            if file.nameless {
                continue;
            }
            // A part that is not there has no names.
            if option == NameOption::Name && self.naming.apply(&mut file).is_err() {
                continue;
            }
            let names = file.arrays.iter().map(|array| array.name.as_str());
            for name in names.filter(|name| name.starts_with(begun)) {
                let value = match option {
                    NameOption::Name => Some(name),
                    NameOption::Key => part_of(name, begun),
                };
                // A line cannot hold any other.
                let value = value.filter(|value| !value.chars().any(char::is_control));
                if let Some(value) = value
                    && !seen.contains(value)
                {
                    seen.insert(value.to_owned());
                    values.push(value.to_owned());
                }
            }
        }
        values
    }
}

/// The part that an array is in: its name up to the first dot behind what is typed.
fn part_of<'a>(name: &'a str, begun: &str) -> Option<&'a str> {
    let rest = name.get(begun.len()..)?;
    rest.find('.').and_then(|dot| name.get(..begun.len() + dot)).filter(|part| !part.is_empty())
}

/// The files that a word of the command line stands for, which the shell has not expanded yet.
fn paths_of(word: &str) -> Vec<PathBuf> {
    let path = match (word.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(word),
    };
    match path.to_str() {
        Some(pattern) if word.contains(['*', '?', '[']) && !path.exists() => {
            let paths = glob::glob(pattern).into_iter().flatten().flatten();
            paths.take(MOST_FILES).collect()
        }
        _ => vec![path],
    }
}
