//! What a backend says of itself, whether or not it can run here.

use bridge_tensor::Device;

/// What a backend says of itself, whether or not it can run here.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// The name it is asked for by, in lower case: "ndarray".
    pub name: &'static str,
    /// Other names it answers to.
    pub aliases: &'static [&'static str],
    /// The framework and its version, for people: "ndarray 0.17".
    pub framework: &'static str,
    /// Backends of higher priority are listed first; equal ones by name.
    pub priority: i32,
}

impl Descriptor {
    /// Whether this is its name or one of its aliases, without regard to case.
    pub fn answers_to(&self, name: &str) -> bool {
        self.names().any(|one| one.eq_ignore_ascii_case(name))
    }

    /// The name and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// One fact about a framework on this machine, or about one of its devices, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The device it is about; `None` for the whole backend.
    pub device: Option<Device>,
    /// What it tells: "version", "driver".
    pub name: &'static str,
    /// The answer.
    pub value: String,
}
