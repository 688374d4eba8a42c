//! Which arrays of a file are converted, what they are called in the new one, and what is left out.

use glob::Pattern;
use serde::Serialize;

use crate::args::ConversionArgs;
use crate::failure::{Failure, Outcome};
use crate::formats::{Array, ArrayFile, Format, Outgoing, Refusal, RefusalKind};

/// How many names an error lists.
const LISTED: usize = 20;

/// Which arrays are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// Names or patterns; without any, all.
    pub(crate) names: &'a [String],
    /// Whether what cannot be converted is left out.
    pub(crate) may_skip: bool,
    /// Whether there has to be an array for each name.
    pub(crate) must_exist: bool,
}

impl<'a> From<&'a ConversionArgs> for Choice<'a> {
    fn from(args: &'a ConversionArgs) -> Self {
        Self { names: &args.name, may_skip: args.skip_unsupported, must_exist: true }
    }
}

/// What is converted of a file.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    /// The arrays, each with its new name.
    pub(crate) arrays: Vec<(&'a Array, &'a str)>,
    /// What was selected and cannot be converted, where that may be left out.
    pub(crate) skipped: Vec<Skipped>,
    may_skip: bool,
    /// Whether `--name` selected it.
    is_part: bool,
}

/// What was left out, and why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Skipped {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) failure: Failure,
}

/// What is asked for: all of a file, or what any of these name.
pub(crate) fn select<'a>(
    file: &'a ArrayFile,
    choice: impl Into<Choice<'a>>,
) -> Outcome<Selection<'a>> {
    let Choice { names, may_skip, must_exist } = choice.into();
    let is_part = !names.is_empty();
    if file.nameless {
        let arrays = renamed(file, names)?;
        require_convertible(&file.refusals.iter().collect::<Vec<_>>(), 0)?;
        return Ok(Selection { arrays, skipped: Vec::new(), may_skip, is_part });
    }
    let wanted: Vec<Wanted<'_>> =
        names.iter().map(|name| Wanted::new(name, file)).collect::<Outcome<_>>()?;
    for one in &wanted {
        let found = file.arrays.iter().any(|array| one.matches(&array.name))
            || file.refusals.iter().any(|refusal| one.matches(&refusal.name));
        if !found && must_exist {
            return Err(one.is_missing(file));
        }
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one.matches(name));
    let arrays: Vec<_> = file
        .arrays
        .iter()
        .filter(|array| is_wanted(&array.name))
        .map(|array| (array, array.name.as_str()))
        .collect();
    let refused: Vec<&Refusal> = file
        .refusals
        .iter()
        .filter(|refusal| match refusal.kind {
            // Nobody misses them, but for who asks for one.
            RefusalKind::Beside => wanted.iter().any(|one| one.is_exactly(&refusal.name)),
            RefusalKind::Unsupported | RefusalKind::Damaged => is_wanted(&refusal.name),
        })
        .collect();
    let damaged = refused.iter().any(|refusal| refusal.kind == RefusalKind::Damaged);
    if !may_skip || damaged || arrays.is_empty() {
        require_convertible(&refused, arrays.len())?;
        return Ok(Selection { arrays, skipped: Vec::new(), may_skip, is_part });
    }
    let skipped = refused
        .into_iter()
        .map(|refusal| Skipped { name: refusal.name.clone(), failure: refusal.failure.clone() });
    Ok(Selection { arrays, skipped: skipped.collect(), may_skip, is_part })
}

impl<'a> Selection<'a> {
    /// The same, of arrays as they are read, one for each; without any, as they lie in their file. One that
    /// cannot be read so is left out where that may be.
    pub(crate) fn read_as(mut self, read: &'a [Outcome<Array>]) -> Outcome<Self> {
        if read.is_empty() {
            return Ok(self);
        }
        let mut kept = Vec::with_capacity(read.len());
        for (read, (_, name)) in read.iter().zip(std::mem::take(&mut self.arrays)) {
            match read {
                Ok(array) => kept.push((array, name)),
                Err(failure) if self.may_skip => {
                    self.skipped.push(Skipped { name: name.to_owned(), failure: failure.clone() });
                }
                Err(failure) => return Err(failure.clone()),
            }
        }
        if let ([], [.., Skipped { failure, .. }]) = (kept.as_slice(), self.skipped.as_slice()) {
            return Err(failure.clone());
        }
        Ok(Self { arrays: kept, ..self })
    }

    /// The arrays as they are written to a file of this format. One that the format cannot store is left
    /// out where that may be.
    pub(crate) fn outgoing(
        &mut self,
        format: Format,
        outgoing: impl Fn(&'a Array, &str) -> Outgoing,
    ) -> Outcome<Vec<Outgoing>> {
        let mut kept = Vec::with_capacity(self.arrays.len());
        let mut written = Vec::with_capacity(self.arrays.len());
        let mut refused = Vec::new();
        for &(array, name) in &self.arrays {
            let one = outgoing(array, name);
            match format.check(&one) {
                Err(failure) if self.may_skip => {
                    let quoted = format!("\"{name}\"");
                    let place = format!("the array {quoted}");
                    let failure = failure.within_unless_named(&place, &quoted);
                    refused.push(Skipped { name: name.to_owned(), failure });
                }
                // The format fails with it where nothing may be left out.
                _ => {
                    kept.push((array, name));
                    written.push(one);
                }
            }
        }
        match refused.first() {
            Some(Skipped { failure, .. }) if kept.is_empty() => return Err(failure.clone()),
            _ => {}
        }
        if format == Format::Npy && kept.len() != 1 {
            return Err(not_one(&kept, self.is_part));
        }
        self.arrays = kept;
        self.skipped.append(&mut refused);
        Ok(written)
    }
}

/// What one `--name` asks for.
#[derive(Debug)]
struct Wanted<'a> {
    text: &'a str,
    /// Where there is no array of exactly that name.
    pattern: Option<Pattern>,
}

impl<'a> Wanted<'a> {
    fn new(text: &'a str, file: &ArrayFile) -> Outcome<Self> {
        let exists = file.arrays.iter().any(|array| array.name == text)
            || file.refusals.iter().any(|refusal| refusal.name == text);
        if exists || !is_pattern(text) {
            return Ok(Self { text, pattern: None });
        }
        let pattern = Pattern::new(text).map_err(|error| {
            Failure::usage(format!("--name {text} is not a pattern"))
                .why(format!("{} at its letter {}", error.msg, error.pos + 1))
                .remedy(
                    "* stands for any letters, ? for one, [abc] for one of these, [*] for a star",
                )
        })?;
        Ok(Self { text, pattern: Some(pattern) })
    }

    fn matches(&self, name: &str) -> bool {
        self.pattern.as_ref().map_or(self.text == name, |pattern| pattern.matches(name))
    }

    fn is_exactly(&self, name: &str) -> bool {
        self.text == name
    }

    fn is_missing(&self, file: &ArrayFile) -> Failure {
        let text = self.text;
        let found = match self.pattern {
            Some(_) => format!("the file has no array whose name matches \"{text}\""),
            None => format!("the file has no array \"{text}\""),
        };
        let names = file.arrays.iter().map(|array| array.name.as_str());
        let names: Vec<_> =
            names.chain(file.refusals.iter().map(|one| one.name.as_str())).collect();
        Failure::usage(found)
            .why(listed(&names))
            .remedy("give one of these names with --name, or a pattern, as in --name 'layer1.*'")
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The array without a name gets the one that is asked for.
fn renamed<'a>(file: &'a ArrayFile, names: &'a [String]) -> Outcome<Vec<(&'a Array, &'a str)>> {
    let refused = |found: String| {
        Failure::usage(found)
            .why("the one array of the file has no name, and --name gives it one")
            .remedy("give it one name, or leave --name out")
    };
    match names {
        [] => Ok(file.arrays.iter().map(|array| (array, array.name.as_str())).collect()),
        [name] if name.contains(['*', '?']) => Err(refused(format!("--name {name} is a pattern"))),
        [name] => Ok(file.arrays.iter().map(|array| (array, name.as_str())).collect()),
        many => Err(refused(format!("--name is given {} times", many.len()))),
    }
}

/// Fails with what cannot be converted, where there is something.
fn require_convertible(refused: &[&Refusal], others: usize) -> Outcome<()> {
    // Damage is what the user has to know first.
    let damaged = refused.iter().find(|refusal| refusal.kind == RefusalKind::Damaged);
    let Some(first) = damaged.or(refused.first()) else {
        return Ok(());
    };
    let mut failure = first.failure.clone();
    if refused.len() > 1 {
        let more = refused.len() - 1;
        let entries = if more == 1 { "another one" } else { "others" };
        let count = if more == 1 { String::new() } else { format!("{more} ") };
        failure = failure.besides(&format!("{count}{entries} cannot be converted either"));
    }
    if others > 0 {
        let arrays = if others == 1 { "the other array" } else { "the other arrays" };
        failure = failure.or(&match damaged {
            Some(_) => format!("pick {arrays} with --name"),
            None => format!("take {arrays} alone, with --skip-unsupported"),
        });
    }
    Err(failure)
}

fn not_one(arrays: &[(&Array, &str)], is_part: bool) -> Failure {
    let names: Vec<&str> = arrays.iter().map(|(_, name)| *name).collect();
    let whole = if is_part { "what --name selects" } else { "the file" };
    Failure::usage(format!("{whole} has {} arrays", arrays.len()))
        .why(format!("an .npy file holds exactly one; {}", listed(&names)))
        .remedy("name the one to convert with --name, or write an .npz or .safetensors file")
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "it has none".to_owned();
    }
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("\"{name}\"")).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("it has {}{more}", shown.join(", "))
}
