//! What the program says when it fails, and how it ends then.

use std::fmt::{self, Write};

use arraybridge::memory::budget::Shortage;
use arraybridge::{DataTypeError, DeviceError, Error, Refused, TensorError};

use crate::exit::Exit;

/// The result of everything that can fail.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why the program stops: what was asked, what was found, why that cannot be, what to do.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    exit: Exit,
    is_shortage: bool,
    is_damage: bool,
    asked: Option<String>,
    found: String,
    why: Option<String>,
    remedy: Option<String>,
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
