//! The backend under test and what it needs around it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bridge_core::{
    Array, Availability, Backend, Device, Error, ManagedTensor, Registration, Registry, inventory,
};
use bridge_host::HostKernels;

use super::outcome::Findings;
use crate::oracle::bytes_of;

/// A backend under test.
pub(super) struct Subject {
    pub(super) backend: &'static dyn Backend,
    pub(super) name: &'static str,
    pub(super) registry: Registry,
    pub(super) availability: Availability,
    /// Why it cannot be registered together with what else is linked.
    pub(super) clash: Option<Error>,
    registration: Registration,
}

impl Subject {
    pub(super) fn new<B: Backend>(backend: &'static B) -> Self {
        let registration = Registration::backend(backend);
        let own = [registration, Registration::host_tools(&HostKernels)];
        let linked = inventory::iter::<Registration>.into_iter().copied();
        let (registry, clash) = match Registry::new(linked.chain(own)) {
            Ok(registry) => (Ok(registry), None),
            Err(clash) => (Registry::new(own), Some(clash)),
        };
        Self {
            backend,
            name: backend.descriptor().name,
            registry: registry.unwrap_or_else(|error| {
                panic!("\"{}\" cannot be registered alone: {error}", backend.descriptor().name)
            }),
            availability: availability_of(backend),
            clash,
            registration,
        }
    }

    /// The registry of the backend, the host tools and `more`.
    pub(super) fn registry_with(&self, more: Registration) -> Result<Registry, String> {
        Registry::new([self.registration, Registration::host_tools(&HostKernels), more])
            .map_err(|error| error.to_string())
    }

    /// Its devices; where it has none here, the law is reported as unavailable.
    pub(super) fn devices_or_report(&self, findings: &mut Findings) -> Option<Vec<Device>> {
        match &self.availability {
            Availability::Ready { devices } => Some(devices.to_vec()),
            Availability::Unavailable { reason, remedy } => {
                findings.unavailable(reason.clone(), remedy.clone());
                None
            }
        }
    }

    /// Moves a host tensor to `device`; one that is there already stays.
    pub(super) fn place(
        &self,
        tensor: ManagedTensor,
        device: Device,
    ) -> Result<ManagedTensor, String> {
        if device.kind().is_host_accessible() {
            return Ok(tensor);
        }
        let placed = self.manager_of(device)?.transfer(&tensor, device);
        placed.map_err(|error| format!("moving a sample to {device} failed: {error}"))
    }

    /// The elements of a tensor on any device.
    pub(super) fn bytes(&self, tensor: &ManagedTensor) -> Result<Vec<u8>, String> {
        let device = tensor.device();
        if device.kind().is_host_accessible() {
            return Ok(bytes_of(tensor));
        }
        let manager = self.manager_of(device)?;
        let down = manager
            .transfer(tensor, Device::CPU)
            .map_err(|error| format!("moving the result from {device} failed: {error}"))?;
        manager.synchronize(device).map_err(|error| format!("synchronizing {device}: {error}"))?;
        Ok(bytes_of(&down))
    }

    pub(super) fn manager_of(&self, device: Device) -> Result<&'static dyn Backend, String> {
        // The backend itself, where it manages the kind: it is the one under test.
        if self.backend.descriptor().device_kinds.contains(&device.kind()) {
            return Ok(self.backend);
        }
        self.registry.backend_of(device).map_err(|error| error.to_string())
    }
}

/// What the backend answers. A panic is found again by the law that asks.
fn availability_of(backend: &'static dyn Backend) -> Availability {
    catch_unwind(AssertUnwindSafe(|| backend.availability())).unwrap_or_else(|_| {
        Availability::Unavailable {
            reason: "asking whether it is available panicked".to_owned(),
            remedy: "make availability() answer".to_owned(),
        }
    })
}

/// Where a tensor's elements begin: what must be equal where nothing was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize, usize);

impl Place {
    pub(super) fn of(tensor: &ManagedTensor) -> Self {
        if tensor.layout().is_empty() {
            return Self(0, 0);
        }
        Self(tensor.data().addr(), tensor.layout().byte_offset())
    }
}

/// Exports an array, whatever backend it is of.
pub(super) fn exported(array: Array) -> Result<ManagedTensor, String> {
    array.export().map_err(|refused| format!("export failed: {refused}"))
}
