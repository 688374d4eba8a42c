//! Conversions and functions in a row.

use std::fmt;
use std::mem;

use bridge_convert::ConvertByName;
use bridge_core::{Array, Device, Error, NativeArray, Options, Refused, Registry, Result};

use super::hops::{Found, Hop, merge};
use super::pipeline_error::PipelineError;

/// An array, and what shall be done with it: conversions and functions, in this order.
///
/// Conversions that lead nowhere are left out: one that another conversion follows at once, and one to
/// where the array already is. [`explain`](Self::explain) says which.
///
/// ```
/// use bridge_core::{Array, ManagedTensor, Registration, Registry};
/// use bridge_memory::patterns::Pipeline;
/// use bridge_testkit::fake_accelerator;
///
/// let tools = [Registration::host_tools(&bridge_host::HostKernels)];
/// let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(tools));
/// let array = Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0], &[2])?);
/// let result = Pipeline::of(&registry, array)
///     .to("fake-accelerator")
///     .map("look", |array| {
///         println!("{array:?}");
///         Ok(array)
///     })
///     .run()?;
/// assert_eq!(result.descriptor().name, "fake-accelerator");
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[must_use = "nothing is done before it is run"]
pub struct Pipeline<'r> {
    registry: &'r Registry,
    array: Array,
    stages: Vec<Stage<'r>>,
}

enum Stage<'r> {
    To(Hop),
    Map(String, Function<'r>),
}

/// A function of a stage. Where it fails, the array comes back if the function has it still.
type Function<'r> = Box<dyn FnOnce(Array) -> Result<Array, (Option<Array>, Error)> + 'r>;

/// What is done, once it is known what can be left out.
enum Action<'r> {
    Convert(Found),
    /// The array is there already.
    Stay(Found),
    Map(String, Function<'r>),
}

impl Pipeline<'static> {
    /// A pipeline of conversions with what is linked into the program.
    ///
    /// # Errors
    ///
    /// As [`Registry::global`]; the array comes back.
    pub fn new(array: Array) -> Result<Self, Refused<Array>> {
        match Registry::global() {
            Ok(registry) => Ok(Self::of(registry, array)),
            Err(error) => Err(Refused::new(array, error)),
        }
    }
}

impl<'r> Pipeline<'r> {
    /// A pipeline of conversions with what `registry` has.
    pub fn of(registry: &'r Registry, array: Array) -> Self {
        Self { registry, array, stages: Vec::new() }
    }

    /// Then converts to the backend of this name; the device is where the conversion leaves the
    /// array.
    pub fn to(self, backend: &str) -> Self {
        self.hop(backend, None)
    }

    /// Then converts to the backend of this name, on `device`.
    pub fn to_device(self, backend: &str, device: Device) -> Self {
        self.hop(backend, Some(device))
    }

    fn hop(self, backend: &str, device: Option<Device>) -> Self {
        self.then(Stage::To(Hop { backend: backend.to_owned(), device }))
    }

    /// Then calls `function`, which is called `name` where the pipeline is explained. Where it fails,
    /// the array is lost.
    pub fn map(self, name: &str, function: impl FnOnce(Array) -> Result<Array> + 'r) -> Self {
        let run = |array| function(array).map_err(|error| (None, error));
        self.then(Stage::Map(name.to_owned(), Box::new(run)))
    }

    /// As [`map`](Self::map), for a function that gives the array back where it fails.
    pub fn try_map(
        self,
        name: &str,
        function: impl FnOnce(Array) -> Result<Array, Refused<Array>> + 'r,
    ) -> Self {
        let run = |array| function(array).map_err(gives_back);
        self.then(Stage::Map(name.to_owned(), Box::new(run)))
    }

    /// As [`map`](Self::map), for a function of a framework's own array type. Where the array is of
    /// another type, it comes back.
    pub fn map_as<T, B, U, C>(self, name: &str, function: impl FnOnce(T) -> Result<U> + 'r) -> Self
    where
        T: NativeArray<B>,
        B: 'static,
        U: NativeArray<C>,
        C: 'static,
    {
        let run = |array: Array| {
            let array = array.downcast::<T>().map_err(gives_back)?;
            function(array).map(Array::new).map_err(|error| (None, error))
        };
        self.then(Stage::Map(name.to_owned(), Box::new(run)))
    }

    fn then(mut self, stage: Stage<'r>) -> Self {
        self.stages.push(stage);
        self
    }

    /// What [`run`](Self::run) will do, a line for each stage, and which conversions it leaves out.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), for what is known before anything is done.
    pub fn explain(&self) -> Result<String> {
        let named = |stage: &Stage<'r>| match stage {
            Stage::To(hop) => Stage::To(hop.clone()),
            Stage::Map(name, _) => {
                let never: Function<'r> = Box::new(Ok);
                Stage::Map(name.clone(), never)
            }
        };
        let stages = self.stages.iter().map(named).collect();
        let actions = actions(self.registry, &self.array, stages)?;
        let mut lines = vec![format!("start with {:?}", self.array)];
        lines.extend(actions.iter().map(ToString::to_string));
        Ok(lines.join("\n"))
    }

    /// Does it all, and returns the last stage's array.
    ///
    /// # Errors
    ///
    /// What the first stage that failed says. Unknown backends and devices are found before anything is
    /// done. The array of the stage that failed comes back, unless a function lost it.
    pub fn run(mut self) -> Result<Array, PipelineError> {
        let stages = mem::take(&mut self.stages);
        let Self { registry, mut array, .. } = self;
        let actions = match actions(registry, &array, stages) {
            Ok(actions) => actions,
            Err(error) => {
                return Err(PipelineError::new(
                    "look at the stages".to_owned(),
                    Some(array),
                    error,
                ));
            }
        };
        for action in actions {
            let stage = action.to_string();
            let done = match action {
                Action::Stay(_) => Ok(array),
                Action::Convert(found) => {
                    let options = match found.device {
                        Some(device) => Options::default().on(device),
                        None => Options::default(),
                    };
                    registry.convert(array, found.backend.name(), options).map_err(gives_back)
                }
                Action::Map(_, function) => function(array),
            };
            array = done.map_err(|(array, error)| PipelineError::new(stage, array, error))?;
        }
        Ok(array)
    }
}

/// What is done of the stages of a pipeline that begins with `array`.
fn actions<'r>(
    registry: &Registry,
    array: &Array,
    stages: Vec<Stage<'r>>,
) -> Result<Vec<Action<'r>>> {
    let mut actions = Vec::new();
    let mut hops = Vec::new();
    for stage in stages {
        match stage {
            Stage::To(hop) => hops.push(hop),
            Stage::Map(name, function) => {
                convert(&mut actions, registry, array, &mem::take(&mut hops))?;
                actions.push(Action::Map(name, function));
            }
        }
    }
    convert(&mut actions, registry, array, &hops)?;
    Ok(actions)
}

/// Adds the conversions that a row of hops needs.
fn convert(
    actions: &mut Vec<Action<'_>>,
    registry: &Registry,
    array: &Array,
    hops: &[Hop],
) -> Result<()> {
    for found in merge(hops, registry)? {
        // After a function, only running it tells where the array is.
        let is_first = actions.is_empty();
        let stays = is_first && is_there(array, &found)?;
        actions.push(if stays { Action::Stay(found) } else { Action::Convert(found) });
    }
    Ok(())
}

fn is_there(array: &Array, to: &Found) -> Result<bool> {
    let is_same = array.descriptor().name == to.backend.name();
    match to.device {
        Some(asked) if is_same => Ok(array.describe()?.device == asked),
        _ => Ok(is_same),
    }
}

fn gives_back(refused: Refused<Array>) -> (Option<Array>, Error) {
    let (array, error) = refused.into_parts();
    (Some(array), error)
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = match self {
            Self::Map(name, _) => return write!(f, "call {name}"),
            Self::Stay(found) => {
                write!(f, "stay {found}, where the array is")?;
                found
            }
            Self::Convert(found) => {
                write!(f, "convert to {found}")?;
                found
            }
        };
        for (index, hop) in found.merged.iter().enumerate() {
            write!(f, "{} {hop}", if index == 0 { ", leaving out" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pipeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = self.stages.iter().map(|stage| match stage {
            Stage::To(hop) => format!("to {hop}"),
            Stage::Map(name, _) => format!("call {name}"),
        });
        let stages: Vec<_> = stages.collect();
        f.debug_struct("Pipeline").field("array", &self.array).field("stages", &stages).finish()
    }
}
