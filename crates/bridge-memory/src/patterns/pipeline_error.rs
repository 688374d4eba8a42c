//! Why a pipeline stopped.

use std::error::Error as StdError;
use std::fmt;

use bridge_core::{Array, Error};

/// Why a pipeline stopped, and the array as it was then.
#[derive(Debug)]
pub struct PipelineError {
    stage: String,
    error: Box<Error>,
    array: Option<Array>,
}

impl PipelineError {
    pub(super) fn new(stage: String, array: Option<Array>, error: Error) -> Self {
        Self { stage, error: Box::new(error), array }
    }

    /// What the pipeline was doing.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Why it stopped.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The array of the stage that failed; `None` where a function lost it.
    pub fn into_array(self) -> Option<Array> {
        self.array
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pipeline stopped at \"{}\": {}", self.stage, self.error)
    }
}

impl StdError for PipelineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.error)
    }
}

impl From<PipelineError> for Error {
    fn from(stopped: PipelineError) -> Self {
        *stopped.error
    }
}
