//! Whether a backend can run here: a question that is answered, not a crash.

use bridge_convert::ConvertByName;
use std::time::{Duration, Instant};

use bridge_convert::stack;
use bridge_core::{
    Array, Availability, DataType, Device, Error, ManagedTensor, NativeType, Options, TensorSpec,
    Unavailable,
};

use super::outcome::{Check, Findings, ensure};
use super::subject::{Place, Subject, exported};
use crate::samples::{Arrangement, Backing};

/// What a hundred answers may take together, after the first.
const HUNDRED_ANSWERS: Duration = Duration::from_secs(1);

pub(super) fn availability_is_quick_and_stable(subject: &Subject, findings: &mut Findings) {
    findings.case("a hundred questions", || {
        let started = Instant::now();
        for _ in 0..100 {
            let again = subject.backend.availability();
            ensure(again == subject.availability, || {
                format!("it changed from {:?} to {again:?}", subject.availability)
            })?;
        }
        let took = started.elapsed();
        ensure(took < HUNDRED_ANSWERS, || format!("they took {took:?}"))
    });
    findings.case("questions from four threads", || {
        let same = std::thread::scope(|scope| {
            let ask = || subject.backend.availability() == subject.availability;
            let asked = [(); 4].map(|()| scope.spawn(ask));
            asked.into_iter().all(|thread| thread.join().unwrap_or(false))
        });
        ensure(same, || "a thread got another answer, or a panic".to_owned())
    });
    match &subject.availability {
        Availability::Unavailable(Unavailable { reason, remedy }) => {
            findings.case("why it is unavailable", || {
                ensure(!reason.trim().is_empty(), || "the reason is empty".to_owned())?;
                ensure(!remedy.trim().is_empty(), || "the remedy is empty".to_owned())
            });
        }
        Availability::Ready { devices } => {
            findings.case("the devices", || devices_fit(subject, devices));
        }
    }
}

fn devices_fit(subject: &Subject, devices: &[Device]) -> Check {
    ensure(!devices.is_empty(), || "it is ready on no device".to_owned())?;
    let kinds = subject.own_kinds();
    let accepted = |device: &Device| {
        let types = subject.backend.native_types();
        types.iter().any(|native| native.accepts().device_kinds().contains(&device.kind()))
    };
    for (index, device) in devices.iter().enumerate() {
        ensure(!devices[..index].contains(device), || format!("{device} is listed twice"))?;
        ensure(kinds.contains(&device.kind()) || accepted(device), || {
            format!("{device} is of no kind that it manages ({kinds:?}) or accepts")
        })?;
        let before = devices[..index].iter().rev().find(|other| other.kind() == device.kind());
        ensure(before.is_none_or(|before| before.ordinal() < device.ordinal()), || {
            format!("{device} is out of the order of ordinals")
        })?;
    }
    Ok(())
}

pub(super) fn unavailable_is_an_error_not_a_crash(subject: &Subject, findings: &mut Findings) {
    let Availability::Unavailable(Unavailable { reason, .. }) = &subject.availability else {
        return;
    };
    findings.case("a conversion by name", || {
        let (array, place) = some_array();
        let converted = subject.registry.convert(array, subject.name, Options::default());
        let (array, error) = failed(converted)?;
        says_why(&error, reason)?;
        ensure(Place::of(&exported(array)?) == place, || "the array came back elsewhere".to_owned())
    });
    findings.case("a plan", || {
        let plan = subject.registry.plan(&some_array().0, subject.name, &Options::default());
        says_why(&plan.err().ok_or("it was made")?, reason)
    });
    findings.case("a stack", || {
        let arrays = vec![some_array().0, some_array().0];
        let stacked = stack(&subject.registry, arrays, 0, subject.name, Options::default());
        let (arrays, error) = failed(stacked)?;
        ensure(arrays.len() == 2, || format!("{} of 2 arrays came back", arrays.len()))?;
        says_why(&error, reason)
    });
    for native in subject.backend.native_types() {
        findings.case(format!("importing into {}", native.name()), || not_imported(native));
    }
    for kind in subject.own_kinds() {
        let device = Device::new(*kind, 0);
        findings.case(format!("calls for {device}"), || {
            // Any answer will do, but it must be one.
            let spec = TensorSpec::row_major(DataType::F32, &[2]).map_err(|e| e.to_string())?;
            if let Some(allocator) = subject.own_allocator() {
                ensure(!allocator.holds(device), || "it says that it holds memory".to_owned())?;
                let _ = allocator.allocate(&spec, device);
                let _ = allocator.usage(device);
                let _ = allocator.trim(device);
            }
            if let Some(runtime) = subject.own_runtime() {
                let serves = runtime.serves(device);
                ensure(serves.is_none(), || "it says that it serves the device".to_owned())?;
                let _ = runtime.synchronize(device);
                let _ = runtime.transfer(&some_tensor(), device);
            }
            Ok(())
        });
    }
}

/// A tensor that keeps what the array type accepts, and yet is refused.
fn not_imported(native: &'static NativeType) -> Check {
    let accepts = native.accepts();
    let rank = 2.clamp(accepts.rank_limits().0, accepts.rank_limits().1);
    let plain = Arrangement::of_rank(rank).swap_remove(0);
    let tried = accepts.data_types().iter().filter_map(|&one| plain.sample(one, Backing::Vector));
    for sample in tried.take(1) {
        let place = Place::of(&sample.tensor);
        let (tensor, error) = failed(Array::import(sample.tensor, native))?;
        ensure(!error.to_string().is_empty(), || "the refusal says nothing".to_owned())?;
        ensure(Place::of(&tensor) == place, || "the tensor came back elsewhere".to_owned())?;
    }
    Ok(())
}

fn failed<T, U>(result: Result<T, bridge_core::Refused<U>>) -> Result<(U, Error), String> {
    match result {
        Ok(_) => Err("it succeeded although the backend is unavailable".to_owned()),
        Err(refused) => Ok(refused.into_parts()),
    }
}

fn says_why(error: &Error, why: &str) -> Check {
    match error {
        Error::Unavailable { why: found, .. } if found.reason == why => Ok(()),
        other => Err(format!("the error is not Unavailable with the reason: {other}")),
    }
}

fn some_tensor() -> ManagedTensor {
    let sample = Arrangement::row_major(&[2, 3]).sample(DataType::F32, Backing::RustOwner);
    sample.expect("plain numbers can lie in rows").tensor
}

fn some_array() -> (Array, Place) {
    let tensor = some_tensor();
    let place = Place::of(&tensor);
    (Array::new(tensor), place)
}
