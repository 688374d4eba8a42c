//! The cases of a law: every array type, device, element type, arrangement and owner.

use std::fmt;

use bridge_core::{
    Accepts, Access, DataType, Description, Device, ManagedTensor, NativeType, Ownership,
};

use super::subject::{Place, Subject};
use crate::effort::{is_small, sampled, sampled_types};
use crate::samples::{Arrangement, Backing, Sample};

/// One tensor to try.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) native: &'static NativeType,
    pub(super) device: Device,
    pub(super) data_type: DataType,
    pub(super) arrangement: Arrangement,
    pub(super) backing: Backing,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { native, device, data_type, arrangement, backing } = self;
        let owner = match backing {
            Backing::Vector => "a vector's memory",
            Backing::RustOwner => "a Rust owner",
            Backing::ForeignDeleter => "a DLPack deleter",
        };
        write!(f, "{}: {data_type} on {device}, {arrangement}, {owner}", native.name())
    }
}

impl Case {
    /// The tensor; `None` where there is none of this arrangement and owner.
    pub(super) fn sample(&self, subject: &Subject) -> Result<Option<Sample>, String> {
        let access = match self.arrangement.repeats_elements() {
            true => Access::ReadOnly,
            false => Access::Exclusive,
        };
        self.sample_with(subject, access)
    }

    pub(super) fn sample_with(
        &self,
        subject: &Subject,
        access: Access,
    ) -> Result<Option<Sample>, String> {
        let place = |base: ManagedTensor| subject.place(base, self.device);
        self.arrangement.sample_with(self.data_type, self.backing, access, place)
    }
}

/// Which cases are wanted.
pub(super) struct Wanted {
    /// All arrangements, or the row-major one only.
    pub(super) every_arrangement: bool,
    pub(super) backings: &'static [Backing],
}

impl Wanted {
    /// Everything.
    pub(super) const ALL: Self = Self { every_arrangement: true, backings: &Backing::ALL };
    /// One row-major tensor an array type, device and element type.
    pub(super) const PLAIN: Self =
        Self { every_arrangement: false, backings: &[Backing::Vector, Backing::RustOwner] };
}

/// Calls `each` with every wanted case of the array types in `natives`.
pub(super) fn for_each_case(
    devices: &[Device],
    natives: &[&'static NativeType],
    wanted: &Wanted,
    mut each: impl FnMut(Case),
) {
    for &native in natives {
        let accepts = native.accepts();
        for device in devices_of(accepts, devices) {
            let on_host = device.kind().is_host_accessible();
            let usable = wanted.backings.iter().filter(|&&one| on_host || one != Backing::Vector);
            let backings: Vec<Backing> = usable.copied().collect();
            for (nth_type, &data_type) in sampled_types(accepts.data_types()).iter().enumerate() {
                for (nth, arrangement) in arrangements(accepts, wanted).into_iter().enumerate() {
                    // A small suite tries the first arrangement with all types and owners, and
                    // the other arrangements with one.
                    let few = match nth {
                        0 => backings.len(),
                        _ => usize::from(nth_type == 0),
                    };
                    for &backing in sampled(&backings, few) {
                        let arrangement = arrangement.clone();
                        each(Case { native, device, data_type, arrangement, backing });
                    }
                }
            }
        }
    }
}

/// All array types of a backend.
pub(super) fn all_natives(subject: &Subject) -> Vec<&'static NativeType> {
    subject.backend.native_types().iter().collect()
}

/// The array types that conversions by name make, each with an element type it is made for.
pub(super) fn natives_by_name(subject: &Subject) -> Vec<(&'static NativeType, DataType)> {
    let natives = subject.backend.native_types();
    let pair =
        |data_type| Some((natives.iter().find(|one| one.accepts().has(data_type))?, data_type));
    sampled_types(&subject.backend.data_types()).into_iter().filter_map(pair).collect()
}

/// An owner that the array type takes.
pub(super) fn any_backing(accepts: &Accepts) -> Backing {
    match accepts.takes_only_vectors() {
        true => Backing::Vector,
        false => Backing::RustOwner,
    }
}

/// The backend's devices of kinds that the array type accepts, and the host where it does.
pub(super) fn devices_of(accepts: &Accepts, devices: &[Device]) -> Vec<Device> {
    let holds = |device: &Device| accepts.device_kinds().contains(&device.kind());
    let mut found: Vec<Device> = devices.iter().copied().filter(holds).collect();
    if holds(&Device::CPU) && !found.contains(&Device::CPU) {
        found.push(Device::CPU);
    }
    // A second device of a kind is not another case of an array type, but another device.
    found.dedup_by_key(|device| device.kind());
    found
}

fn arrangements(accepts: &Accepts, wanted: &Wanted) -> Vec<Arrangement> {
    let (lowest, highest) = accepts.rank_limits();
    if !wanted.every_arrangement {
        let rank = 2.clamp(lowest, highest);
        return Arrangement::of_rank(rank).into_iter().take(1).collect();
    }
    if is_small() {
        // Row-major, with an offset, and one that few layout rules allow.
        let some = Arrangement::of_rank(2.clamp(lowest, highest));
        let last = some.len() - 1;
        return [0, 2, last].map(|nth| some[nth].clone()).into();
    }
    let ranks = lowest..=highest.min(lowest.max(4));
    let mut all: Vec<_> = ranks.flat_map(Arrangement::of_rank).collect();
    if highest > 4 {
        all.push(Arrangement::of_highest_rank(highest));
    }
    all
}

/// Why an array type does not take such a tensor without a copy; `None` where it does.
pub(super) fn refusal_reason(accepts: &Accepts, found: &Description) -> Option<&'static str> {
    let needed = accepts.alignment_for(found.data_type);
    let has_addresses = found.device.kind().has_addresses();
    let checks = [
        (accepts.has(found.data_type), "its element type"),
        (accepts.has_shape(found.layout.shape()), "its shape"),
        (accepts.device_kinds().contains(&found.device.kind()), "its device"),
        (accepts.layout_rule().allows(&found.layout), "its layout"),
        (found.layout.is_empty() || !has_addresses || found.alignment >= needed, "its alignment"),
        (
            !accepts.takes_only_vectors() || found.ownership == Ownership::Movable,
            "its owner, which is no vector",
        ),
        (!accepts.may_write_read_only() || found.access != Access::ReadOnly, "its being read-only"),
    ];
    checks.iter().find(|(keeps, _)| !keeps).map(|(_, why)| *why)
}

/// A sample on its way through a conversion: what must be found again.
pub(super) struct Expected {
    pub(super) place: Place,
    pub(super) shape: Vec<usize>,
    pub(super) data_type: DataType,
    pub(super) bytes: Vec<u8>,
}

impl Expected {
    pub(super) fn of(sample: &Sample) -> Self {
        Self {
            place: Place::of(&sample.tensor),
            shape: sample.tensor.shape().to_vec(),
            data_type: sample.tensor.data_type(),
            bytes: sample.expected.clone(),
        }
    }

    /// Checks that a tensor has this shape, element type and these elements.
    pub(super) fn check(&self, subject: &Subject, tensor: &ManagedTensor) -> Result<(), String> {
        if tensor.shape() != self.shape {
            return Err(format!("the shape {:?} became {:?}", self.shape, tensor.shape()));
        }
        if tensor.data_type() != self.data_type {
            return Err(format!("{} silently became {}", self.data_type, tensor.data_type()));
        }
        let found = subject.bytes(tensor)?;
        crate::oracle::compare(&self.bytes, &found, self.data_type.bits())
    }

    /// As [`check`](Self::check), and that the memory is the same.
    pub(super) fn check_same(
        &self,
        subject: &Subject,
        tensor: &ManagedTensor,
    ) -> Result<(), String> {
        self.check_place(tensor)?;
        self.check(subject, tensor)
    }

    pub(super) fn check_place(&self, tensor: &ManagedTensor) -> Result<(), String> {
        let found = Place::of(tensor);
        if found == self.place {
            return Ok(());
        }
        Err(format!("the memory is another: {:x?} became {found:x?}", self.place))
    }
}
