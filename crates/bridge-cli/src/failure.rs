//! What the program says when it fails, and how it ends then.

use std::fmt::{self, Write};

use arraybridge::memory::budget::Shortage;
use arraybridge::{DataTypeError, DeviceError, Error, Refused, TensorError};
use serde::Serialize;

use crate::exit::Exit;

/// The result of everything that can fail.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why the program stops: what was asked, what was found, why that cannot be, what to do. As JSON it is
/// the latter three.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug, Clone, Serialize)]
struct Parts {
    #[serde(skip)]
    exit: Exit,
    #[serde(skip)]
    is_shortage: bool,
    #[serde(skip)]
    is_damage: bool,
    #[serde(skip)]
    asked: Option<String>,
    found: String,
    why: Option<String>,
    #[serde(rename = "do")]
    remedy: Option<String>,
}

/// A failure as a program reads it: what `--json` prints in place of the text.
#[derive(Debug, Serialize)]
pub(crate) struct FailureReport<'a> {
    error: Whole<'a>,
}

#[derive(Debug, Serialize)]
struct Whole<'a> {
    asked: Option<&'a str>,
    #[serde(flatten)]
    failure: &'a Failure,
    exit_code: u8,
}

impl Failure {
    /// The command line was right and the work failed: exit code 1.
    pub(crate) fn new(found: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            exit: Exit::Failed,
            is_shortage: false,
            is_damage: false,
            asked: None,
            found: found.into(),
            why: None,
            remedy: None,
        }))
    }

    /// The command line asks for what cannot be: exit code 2.
    pub(crate) fn usage(found: impl Into<String>) -> Self {
        Self::new(found).into_wrong_usage()
    }

    /// The same, with exit code 2.
    pub(crate) fn into_wrong_usage(self) -> Self {
        self.ending(Exit::WrongUsage)
    }

    /// The same, with this exit code.
    pub(crate) fn ending(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// Says why what was found cannot be.
    pub(crate) fn why(mut self, why: impl fmt::Display) -> Self {
        self.0.why = Some(why.to_string());
        self
    }

    /// Says what to do.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Says what else can be done.
    pub(crate) fn or(mut self, alternative: &str) -> Self {
        self.0.remedy = Some(match self.0.remedy {
            Some(remedy) => format!("{remedy}; or {alternative}"),
            None => alternative.to_owned(),
        });
        self
    }

    /// Puts what else was found behind what was found.
    pub(crate) fn besides(mut self, more: &str) -> Self {
        self.0.found = format!("{}; {more}", self.0.found);
        self
    }

    /// Says what was asked for, where nobody closer to it has.
    pub(crate) fn asked(mut self, asked: impl FnOnce() -> String) -> Self {
        self.0.asked.get_or_insert_with(asked);
        self
    }

    /// Puts where it was found before what was found.
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.0.found = format!("{place}: {}", self.0.found);
        self
    }

    /// The same, of bytes that are not what they are said to be: cut short, changed or forged.
    pub(crate) fn damaged(mut self) -> Self {
        self.0.is_damage = true;
        self
    }

    /// As [`within`](Self::within), where what was found does not have this name in it.
    pub(crate) fn within_unless_named(self, place: &str, name: &str) -> Self {
        if self.0.found.contains(name) { self } else { self.within(place) }
    }

    /// What was found and why, in one line.
    pub(crate) fn reason(&self) -> String {
        match &self.0.why {
            Some(why) => format!("{}: {why}", self.0.found),
            None => self.0.found.clone(),
        }
    }

    /// The whole of it, in some lines for people.
    pub(crate) fn show(&self, coloured: bool) -> String {
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let red = if coloured { red } else { anstyle::Style::new() };
        let asked = self.0.asked.as_deref().unwrap_or("arraybridge");
        let mut shown = format!("{red}error:{red:#} {}", visible(asked));
        let lines = [
            ("found:", Some(&self.0.found)),
            ("why:  ", self.0.why.as_ref()),
            ("do:   ", self.0.remedy.as_ref()),
        ];
        for (label, text) in lines {
            if let Some(text) = text {
                let _ = write!(shown, "\n  {label} {}", visible(text));
            }
        }
        shown
    }

    /// The whole of it, for programs.
    pub(crate) fn report(&self) -> FailureReport<'_> {
        let exit_code = self.exit().code();
        FailureReport { error: Whole { asked: self.0.asked.as_deref(), failure: self, exit_code } }
    }

    /// How the program ends for it.
    pub(crate) fn exit(&self) -> Exit {
        self.0.exit
    }

    /// Whether the file is damaged.
    pub(crate) fn is_damage(&self) -> bool {
        self.0.is_damage
    }

    /// Whether a budget had no room.
    pub(crate) fn is_shortage(&self) -> bool {
        self.0.is_shortage
    }
}

/// The text with control characters escaped: names in files must not steer the terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            visible.extend(letter.escape_default());
        } else {
            visible.push(letter);
        }
    }
    visible
}

impl From<TensorError> for Failure {
    fn from(error: TensorError) -> Self {
        Error::from(error).into()
    }
}

impl<T> From<Refused<T, TensorError>> for Failure {
    fn from(refused: Refused<T, TensorError>) -> Self {
        refused.into_error().into()
    }
}

/// What the library says of a byte that is no boolean, wherever it meets it.
const BOOLEANS: &str = "only 0 and 1 are booleans";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let wrong_usage = matches!(
            error,
            Error::UnknownBackend { .. }
                | Error::Tensor(TensorError::Device(DeviceError::Unknown { .. }))
                | Error::Tensor(TensorError::DataType(DataTypeError::Unknown { .. }))
        );
        // The library's advice is for those who write programs.
        let mut failure = match &error {
            Error::UnknownBackend { asked, available, meant, .. } => {
                let linked = available.join(", ");
                Self::new(format!("there is no backend \"{asked}\": linked are {linked}"))
                    .remedy(instead_of(asked, *meant, available))
            }
            Error::Tensor(TensorError::InvalidTensor { reason }) if reason.contains(BOOLEANS) => {
                let (found, _) = reason.split_once("; ").unwrap_or((reason, ""));
                Self::new(found)
                    .why("programs do not agree on what another byte means")
                    .remedy(
                        "read the bytes as numbers: --as uint8, and with --dtype bool --inexact allow all \
                         but 0 is true; or in Python: a.view(np.uint8) != 0",
                    )
            }
            _ => Self::new(error.to_string()),
        };
        failure.0.is_shortage = Shortage::of(&error).is_some();
        if wrong_usage { failure.into_wrong_usage() } else { failure }
    }
}

/// What to do where a backend is not linked into the program.
fn instead_of(asked: &str, meant: Option<&str>, linked: &[&str]) -> String {
    /// Backends that are features of the program, by the features' names.
    const FEATURES: [&str; 5] = ["ndarray", "candle", "torch", "opencl", "cuda"];
    let meant = meant.unwrap_or(asked);
    if linked.contains(&meant) {
        format!("did you mean \"{meant}\"? The command `doctor` lists all")
    } else if FEATURES.contains(&meant) {
        format!("build the program with `--features {meant}`; README.md says what that needs")
    } else {
        "name a backend that the command `doctor` lists".to_owned()
    }
}

impl<T> From<Refused<T>> for Failure {
    fn from(refused: Refused<T>) -> Self {
        Error::from(refused).into()
    }
}
