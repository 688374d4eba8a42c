//! The backend under test and what it needs around it.

use std::any::type_name;

use bridge_core::{
    Allocator, Array, Availability, Backend, Device, DeviceKind, ManagedTensor, Registration,
    Registry, Runtime, Unavailable, inventory,
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
    pub(super) clash: Option<String>,
    /// It, the host tools and what it can do beside converting.
    own: Vec<Registration>,
}

impl Subject {
    /// `more` is what the backend has beside itself and is not linked: its runtime, its allocator.
    pub(super) fn new<B: Backend>(backend: &'static B, more: &[Registration]) -> Self {
        let mut own = vec![Registration::backend(backend), Registration::host_tools(&HostKernels)];
        own.extend_from_slice(more);
        let linked = inventory::iter::<Registration>.into_iter().copied();
        let name = Some(backend.descriptor().name);
        own.extend(linked.clone().filter(|one| one.backend_name() == name));
        let mut registry = Registry::new(linked.chain(own.iter().copied()));
        let disabled = registry.disabled().iter();
        let clash = disabled.clone().find(|one| one.type_name == type_name::<B>());
        let clash = clash.map(|one| one.reason.clone());
        if clash.is_some() {
            registry = Registry::new(own.iter().copied());
        }
        let backend: &'static dyn Backend = backend;
        let availability = backend.checked_availability();
        Self { backend, name: backend.name(), registry, availability, clash, own }
    }

    /// What the backend does on devices, where it has a runtime.
    pub(super) fn own_runtime(&self) -> Option<&'static dyn Runtime> {
        let runtimes = self.registry.runtimes().iter().copied();
        runtimes.into_iter().find(|runtime| runtime.backend().name() == self.name)
    }

    /// Who holds its memory, where the backend has an allocator.
    pub(super) fn own_allocator(&self) -> Option<&'static dyn Allocator> {
        let allocators = self.registry.every_allocator().iter().copied();
        allocators.into_iter().find(|allocator| allocator.backend().name() == self.name)
    }

    /// The kinds of device that it has a runtime for.
    pub(super) fn own_kinds(&self) -> &'static [DeviceKind] {
        self.own_runtime().map_or(&[], Runtime::device_kinds)
    }

    /// The registry of the backend, the host tools and `more`.
    pub(super) fn registry_with(&self, more: &[Registration]) -> Registry {
        Registry::new(self.own.iter().chain(more).copied())
    }

    /// Its devices; where it has none here, the law is reported as unavailable.
    pub(super) fn devices_or_report(&self, findings: &mut Findings) -> Option<Vec<Device>> {
        match &self.availability {
            Availability::Ready { devices } => Some(devices.to_vec()),
            Availability::Unavailable(Unavailable { reason, remedy }) => {
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
        let placed = self.runtime_of(device)?.transfer(&tensor, device);
        placed.map_err(|error| format!("moving a sample to {device} failed: {error}"))
    }

    /// The elements of a tensor on any device.
    pub(super) fn bytes(&self, tensor: &ManagedTensor) -> Result<Vec<u8>, String> {
        let device = tensor.device();
        if device.kind().is_host_accessible() {
            if tensor.stream().is_some() {
                let waited = self.runtime_of(device)?.synchronize(device);
                waited.map_err(|error| format!("synchronizing {device}: {error}"))?;
            }
            return Ok(bytes_of(tensor));
        }
        let runtime = self.runtime_of(device)?;
        let down = runtime
            .transfer(tensor, Device::CPU)
            .map_err(|error| format!("moving the result from {device} failed: {error}"))?;
        runtime.synchronize(device).map_err(|error| format!("synchronizing {device}: {error}"))?;
        Ok(bytes_of(&down))
    }

    pub(super) fn runtime_of(&self, device: Device) -> Result<&'static dyn Runtime, String> {
        // The backend's own, where it serves the device: it is the one under test.
        match self.own_runtime().filter(|runtime| runtime.serves(device).is_some()) {
            Some(own) => Ok(own),
            None => self.registry.runtime(device).map_err(|error| error.to_string()),
        }
    }
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
