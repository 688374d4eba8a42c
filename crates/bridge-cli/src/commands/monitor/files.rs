//! The files that a monitored command's memory is written to.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use arraybridge::memory::profile::Recording;
use serde::Serialize;

use super::summary::{Facts, Summary};
use crate::args::MonitorArgs;
use crate::failure::{Failure, Outcome};
use crate::formats::TargetFile;

/// Where to write what was sampled.
pub(super) struct Files {
    samples: Option<(TargetFile, Samples)>,
    picture: Option<(TargetFile, Drawing)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Samples {
    Csv,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drawing {
    Svg,
    Png,
}

/// All of it, as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    facts: &'a Facts,
    #[serde(flatten)]
    recording: &'a Recording,
}

impl Files {
    /// Checks that the files can be written: what they are by their endings, and that their folders take
    /// new ones.
    pub(super) fn new(args: &MonitorArgs) -> Outcome<Self> {
        let samples = [("csv", Samples::Csv), ("json", Samples::Json)];
        let drawings = [("svg", Drawing::Svg), ("png", Drawing::Png)];
        let samples = args.output.as_deref().map(|path| place("--output", path, &samples));
        let picture = args.plot.as_deref().map(|path| {
            let place = place("--plot", path, &drawings)?;
            if cfg!(feature = "plot") { Ok(place) } else { Err(no_pictures()) }
        });
        let files = Self { samples: samples.transpose()?, picture: picture.transpose()? };
        let targets = files.samples.iter().map(|(target, _)| target);
        for target in targets.chain(files.picture.iter().map(|(target, _)| target)) {
            target.check_folder()?;
        }
        Ok(files)
    }

    /// Writes every file that can be; what is said is why the first could not.
    pub(super) fn write(&self, summary: &Summary<'_>, recording: &Recording) -> Outcome<()> {
        let samples = self.samples.as_ref().map_or(Ok(()), |(target, form)| {
            write(target, |file| match form {
                Samples::Csv => recording.write_csv(file),
                Samples::Json => {
                    let whole = Whole { facts: summary.facts(), recording };
                    serde_json::to_writer(&mut *file, &whole)?;
                    writeln!(file)
                }
            })
        });
        let picture = self.picture.as_ref().map_or(Ok(()), |(target, form)| {
            let drawn = draw(*form, summary.facts(), recording)?;
            write(target, |file| file.write_all(&drawn))
        });
        samples.and(picture)
    }
}

/// The file at `path`, and which of these it is.
fn place<T: Copy>(option: &str, path: &Path, kinds: &[(&str, T)]) -> Outcome<(TargetFile, T)> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let kind = kinds.iter().find(|(name, _)| name.eq_ignore_ascii_case(ending));
    let &(_, kind) = kind.ok_or_else(|| {
        let names: Vec<_> = kinds.iter().map(|(name, _)| format!(".{name}")).collect();
        Failure::usage(format!("{option} {}: its extension says nothing", path.display()))
            .why("the extension says what is written")
            .remedy(format!("end the name with {}", names.join(" or ")))
    })?;
    Ok((TargetFile::at(path)?, kind))
}

fn no_pictures() -> Failure {
    Failure::usage("--plot: this program was built without pictures")
        .why("it lacks the feature plot")
        .remedy("build it with `--features plot`, or write the samples with --output FILE.csv")
}

fn write(
    target: &TargetFile,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Outcome<()> {
    target.write(|file| {
        let mut file = BufWriter::new(file);
        fill(&mut file).and_then(|()| file.flush()).map_err(|error| {
            Failure::new("what was sampled cannot be written")
                .why(error)
                .remedy("make room, or write to another place; what was there before is untouched")
        })
    })
}

#[cfg(feature = "plot")]
fn draw(form: Drawing, facts: &Facts, recording: &Recording) -> Outcome<Vec<u8>> {
    use arraybridge::memory::profile::Picture;

    if recording.series.is_empty() {
        return Err(Failure::new("there is nothing to draw")
            .why("the command ended before its memory was read, or it cannot be read here")
            .remedy("run a longer command, or leave --plot out"));
    }
    let mut picture = Picture::of(recording).title(facts.title());
    if let Some(bytes) = facts.budget() {
        picture = picture.budget("budget", bytes);
    }
    Ok(match form {
        Drawing::Svg => picture.svg()?.into_bytes(),
        Drawing::Png => picture.png()?,
    })
}

#[cfg(not(feature = "plot"))]
fn draw(_: Drawing, _: &Facts, _: &Recording) -> Outcome<Vec<u8>> {
    Err(no_pictures())
}
