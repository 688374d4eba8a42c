//! A backend that answers what a test tells it to.

use bridge_core::{Availability, Backend, Descriptor, NativeType, Registry};

/// A backend without array types, which answers what it is told to when it is asked.
pub(crate) struct Asked {
    pub(crate) descriptor: fn() -> &'static Descriptor,
    pub(crate) availability: fn() -> Availability,
}

impl Backend for Asked {
    fn descriptor(&self) -> &'static Descriptor {
        (self.descriptor)()
    }

    fn availability(&self) -> Availability {
        (self.availability)()
    }

    fn native_types(&self) -> &'static [NativeType] {
        &[]
    }
}

/// The descriptor of a backend of this name, these aliases and this priority.
macro_rules! named {
    ($name:literal, $aliases:expr, $priority:literal) => {
        || {
            const {
                &bridge_core::Descriptor {
                    name: $name,
                    aliases: $aliases,
                    framework: "a test",
                    priority: $priority,
                }
            }
        }
    };
}

pub(crate) fn ready() -> Availability {
    Availability::HOST
}

pub(crate) static FIRST: Asked =
    Asked { descriptor: named!("first", &["one"], 0), availability: ready };

pub(crate) static HIGH: Asked = Asked { descriptor: named!("high", &[], 9), availability: ready };

pub(crate) fn names(registry: &Registry) -> Vec<&'static str> {
    registry.backends().iter().map(|backend| backend.name()).collect()
}
