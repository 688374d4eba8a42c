//! What stands in the way of handing an array over without a copy.

use bridge_core::{
    Accepts, Access, CopyPolicy, DataType, Device, Facts, Options, Ownership, Reason,
};

/// Whether a plan would hand such an array over without a copy: decided without making the plan.
#[inline]
pub(crate) fn fits(found: Facts<'_>, accepts: &Accepts, options: &Options) -> bool {
    let data_type = options.data_type().unwrap_or(found.data_type);
    if !accepts.has(data_type) || !accepts.has_shape(found.layout.shape()) {
        return false;
    }
    target_device(found.device, accepts, options).is_some_and(|device| {
        let mut clear = true;
        obstacles(found, accepts, options, (data_type, device), |_| clear = false);
        clear
    })
}

/// Tells every reason why the array cannot be handed over without a copy.
#[inline]
pub(super) fn obstacles(
    found: Facts<'_>,
    accepts: &Accepts,
    options: &Options,
    (data_type, device): (DataType, Device),
    mut tell: impl FnMut(Reason),
) {
    if options.copy_policy() == CopyPolicy::Always {
        tell(Reason::CopyAsked);
    }
    if data_type != found.data_type {
        tell(Reason::DataType { from: found.data_type, to: data_type });
    }
    if needs_transfer(found.device, device, options) {
        tell(Reason::Device { from: found.device, to: device });
    }
    if !accepts.layout_rule().allows(found.layout) {
        tell(Reason::Layout { rule: accepts.layout_rule() });
    }
    let needed = accepts.alignment_for(found.data_type);
    let has_addresses = found.device.kind().has_addresses();
    if has_addresses && found.alignment < needed && !found.layout.is_empty() {
        tell(Reason::Alignment { needed, found: found.alignment });
    }
    if accepts.takes_only_vectors() && found.ownership != Ownership::Movable {
        tell(Reason::NotAVector);
    }
    let guarded = found.access == Access::ReadOnly && !options.ignores_read_only();
    if accepts.may_write_read_only() && guarded {
        tell(Reason::ReadOnly);
    }
}

/// Where the result goes: where the caller wants it, else where the source is, else to the
/// target's first kind of device. `None` where the target cannot be there.
#[inline]
pub(super) fn target_device(
    source: Device,
    accepts: &Accepts,
    options: &Options,
) -> Option<Device> {
    let holds = |device: &Device| accepts.device_kinds().contains(&device.kind());
    match options.device() {
        Some(asked) => Some(asked).filter(holds),
        None if holds(&source) => Some(source),
        None => accepts.device_kinds().first().map(|&kind| Device::new(kind, 0)),
    }
}

/// Whether the memory has to go elsewhere. Host memory is host memory, however it was allocated: the
/// CPU reads it in place, unless the caller asks for one kind by name.
#[inline]
pub(super) fn needs_transfer(from: Device, to: Device, options: &Options) -> bool {
    let both_on_host = from.kind().is_host_accessible() && to.kind().is_host_accessible();
    from != to && (options.device().is_some() || !both_on_host)
}
