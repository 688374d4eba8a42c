//! Runs that end early: the array comes back, and nothing is leaked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, ThreadId};

use bridge_core::{
    Admission, Array, DataType, Device, DeviceBytes, Error, ManagedTensor, Options, Permit,
    Refused, TensorError, TensorSpec,
};
use bridge_memory::chunk::{ChunkMap, ChunkPlan, Mapped, map_chunks};
use bridge_testkit::fake_accelerator::Faults;

use crate::support::{
    alone, counted, elements, live_bytes, plus_one, plus_one_on_device, registry,
};

fn plan() -> ChunkPlan {
    ChunkPlan::of_size(10, 3).unwrap()
}

/// The text of the error, where the array came back as it was.
fn refused(mapped: Result<Mapped, Refused<Array>>) -> String {
    let refused = mapped.unwrap_err();
    let text = refused.to_string();
    let mut array = refused.into_value().downcast::<ManagedTensor>().unwrap();
    assert_eq!(array.as_mut_slice::<i32>().unwrap(), elements(&counted(&[10, 2])));
    text
}

fn array() -> Array {
    Array::new(counted(&[10, 2]))
}

#[test]
fn whichever_allocation_fails_the_array_comes_back_and_nothing_is_leaked() {
    let _alone = alone();
    let registry = registry();
    let run = || {
        let run = ChunkMap::new(&registry, &plan()).to("fake-accelerator").one_at_a_time();
        run.run(array(), plus_one_on_device)
    };
    for nth in 0..8 {
        let failing = Faults::out_of_memory_at(nth).install();
        let mapped = run();
        drop(failing);
        assert!(refused(mapped).contains("memory"), "{nth}");
        assert_eq!(live_bytes(), 0);
    }
    // Four chunks are uploaded, and four results made.
    let failing = Faults::out_of_memory_at(8).install();
    let mapped = run();
    drop(failing);
    assert_eq!(mapped.unwrap().result.as_slice::<i32>().unwrap()[19], 20);
}

#[test]
fn an_error_of_the_function_ends_the_run_at_any_chunk() {
    let _alone = alone();
    let registry = registry();
    for failing in 0..4 {
        for overlapped in [true, false] {
            let mut calls = 0;
            let run = ChunkMap::new(&registry, &plan()).to("fake-accelerator");
            let run = if overlapped { run } else { run.one_at_a_time() };
            let mapped = run.run(array(), |chunk| {
                calls += 1;
                if calls > failing {
                    let what = "the fourth wall".to_owned();
                    return Err(Error::Unsupported { what, remedy: "mend it".to_owned() });
                }
                plus_one_on_device(chunk)
            });
            assert!(refused(mapped).contains("fourth wall"));
            assert_eq!((calls, live_bytes()), (failing + 1, 0));
        }
    }
}

/// Admits what its own thread takes.
struct OnlyHere(ThreadId);

impl Admission for OnlyHere {
    fn admit(&self, _: &[DeviceBytes]) -> Result<Permit, Error> {
        if thread::current().id() == self.0 {
            return Ok(Permit::unlimited());
        }
        Err(Error::NotAdmitted(Arc::new(std::fmt::Error)))
    }

    fn recover(&self, _: Device, _: &Error, _: u32) -> bool {
        false
    }
}

#[test]
fn an_upload_that_fails_on_the_other_thread_ends_the_run() {
    let _alone = alone();
    let registry = registry();
    let budget = OnlyHere(thread::current().id());
    let mut calls = 0;
    let run = ChunkMap::new(&registry, &plan()).to("fake-accelerator");
    let mapped = run.options(Options::default().within(&budget)).run(array(), |chunk| {
        calls += 1;
        plus_one_on_device(chunk)
    });
    assert!(refused(mapped).contains(&std::fmt::Error.to_string()));
    assert_eq!((calls, live_bytes()), (1, 0));
}

#[test]
fn a_panic_of_the_function_ends_the_run_and_the_other_thread() {
    let _alone = alone();
    let registry = registry();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let run = ChunkMap::new(&registry, &plan()).to("fake-accelerator");
        run.run(array(), |_| panic!("in the middle")).map(drop)
    }));
    assert!(panicked.is_err());
    assert_eq!(live_bytes(), 0);
}

#[test]
fn a_chunk_that_is_kept_leaves_the_array_to_be_read() {
    let registry = registry();
    let mut kept = Vec::new();
    let mapped = ChunkMap::new(&registry, &plan()).run(array(), |chunk| {
        let chunk = chunk.downcast::<ManagedTensor>()?;
        let result = plus_one(&chunk)?;
        kept.push(chunk);
        Ok(Array::new(result))
    });
    let mut array = mapped.unwrap().array.downcast::<ManagedTensor>().unwrap();
    assert!(array.as_mut_slice::<i32>().is_err(), "others hold its memory");
    assert_eq!(elements(&array), elements(&counted(&[10, 2])));
    drop(array);
    assert_eq!(elements(&kept[3]), [18, 19]);
}

#[test]
fn what_cannot_be_divided_is_refused_before_anything_is_called() {
    let registry = registry();
    let never = |_| -> Result<Array, Error> { unreachable!() };
    let of = |plan: &ChunkPlan, axis, target| {
        refused(map_chunks(&registry, array(), axis, plan, target, Options::default(), never))
    };
    assert!(of(&plan(), 2, "fake").contains("it must be below 2"));
    let told = of(&ChunkPlan::of_size(9, 3).unwrap(), 0, "fake");
    assert!(told.contains('9') && told.contains("axis 0 of [10, 2] has 10"), "{told}");
    assert!(of(&plan(), 0, "no-such").contains("no backend \"no-such\""));
}

#[test]
fn results_that_do_not_fit_together_are_refused() {
    let registry = registry();
    let returned = |shapes: &[(DataType, &[usize])]| {
        let mut shapes = shapes.iter();
        refused(ChunkMap::new(&registry, &plan()).run(array(), |_| {
            let (data_type, shape) = shapes.next().unwrap();
            let spec = TensorSpec::row_major(*data_type, shape)?;
            Ok(Array::new(bridge_host::zeroed(&spec, 16)?))
        }))
    };
    const F: DataType = DataType::F32;
    let told = returned(&[(F, &[2, 2])]);
    assert!(told.contains("[2, 2] for chunk 0") && told.contains("must have 3 items"), "{told}");
    assert!(returned(&[(F, &[])]).contains("must have 3 items"));
    let told = returned(&[(F, &[3, 2]), (F, &[3, 1])]);
    assert!(told.contains("array 1 has shape [3, 1], array 0 has [3, 2]"), "{told}");
    let told = returned(&[(F, &[3, 2]), (DataType::I8, &[3, 2])]);
    assert!(told.contains("int8") && told.contains("one element type"), "{told}");
    let told = returned(&[(F, &[3, 2]), (F, &[3])]);
    assert!(told.contains("array 1 has shape [3]"), "{told}");
    // No more bytes than can be counted. Miri has no allocator that fails.
    if cfg!(miri) {
        return;
    }
    let wide = ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap();
    let plan = ChunkPlan::of_size(1 << 62, 1 << 61).unwrap();
    let wide = wide.broadcast_to(&[1 << 62]).unwrap();
    let error = ChunkMap::new(&registry, &plan).run(Array::new(wide), Ok).unwrap_err();
    assert!(
        matches!(
            error.error(),
            Error::Tensor(TensorError::OutOfMemory { .. } | TensorError::TooLarge { .. })
        ),
        "{error}"
    );
}
