//! Who is asked before a conversion takes memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use bridge_convert::{ConvertByName, Step};
use bridge_core::{
    Admission, Array, CopyPolicy, DataType, Device, DeviceBytes, Error, HostTools, ManagedTensor,
    Options, Overflow, Permit, Registration, Registry, Result, TensorError,
};

use crate::accelerator::{ACCELERATOR, DRIVER, FIRST, SECOND};
use crate::support::{TAKES, VECTORS};

/// Admits so many bytes at a time, and writes down what it was asked.
struct Watch {
    limit: u64,
    asked: Mutex<Vec<(Device, u64)>>,
    recovered: AtomicU32,
}

impl Watch {
    const fn new(limit: u64) -> Self {
        Self { limit, asked: Mutex::new(Vec::new()), recovered: AtomicU32::new(0) }
    }

    fn registry(&'static self) -> Registry {
        Registry::new([
            Registration::backend(&TAKES),
            Registration::backend(&VECTORS),
            Registration::backend(&ACCELERATOR),
            Registration::runtime(&DRIVER),
            Registration::host_tools(&bridge_host::HostKernels),
            Registration::admission(self),
        ])
    }
}

impl Admission for Watch {
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit> {
        self.asked.lock().unwrap().extend(peaks.iter().map(|peak| (peak.device, peak.bytes)));
        match peaks.iter().find(|peak| peak.bytes > self.limit) {
            Some(&DeviceBytes { device, bytes: requested }) => {
                Err(TensorError::OutOfMemory { device, requested }.into())
            }
            None => Ok(Permit::new(())),
        }
    }

    fn recover(&self, _: Device, _: &Error, attempt: u32) -> bool {
        self.recovered.store(attempt, Ordering::Relaxed);
        attempt < 3
    }
}

fn numbers() -> ManagedTensor {
    ManagedTensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap()
}

#[test]
fn a_copy_asks_before_it_takes_memory_and_a_share_does_not() {
    static WATCH: Watch = Watch::new(1 << 20);
    let registry = WATCH.registry();
    let shared = registry.convert(Array::new(numbers()), "takes", Options::default());
    assert!(shared.is_ok() && WATCH.asked.lock().unwrap().is_empty());
    let cast = Options::default().cast(DataType::F64);
    let (_, report) = registry.convert_reported(Array::new(numbers()), "takes", cast).unwrap();
    assert!(matches!(report.steps[0], Step::Cast { .. }), "{report}");
    assert_eq!(*WATCH.asked.lock().unwrap(), [(Device::CPU, 32)]);
}

#[test]
fn all_copies_together_ask_once_for_what_they_take_on_each_device() {
    static WATCH: Watch = Watch::new(1 << 20);
    let registry = WATCH.registry();
    let asked = || std::mem::take(&mut *WATCH.asked.lock().unwrap());
    let there = Options::default().on(FIRST).cast(DataType::I64);
    let array = registry.convert(Array::new(numbers()), "accelerator", there).unwrap();
    assert_eq!(asked(), [(FIRST, 48)], "an upload, and a cast while that is still there");
    let array = registry.convert(array, "accelerator", Options::default().on(SECOND)).unwrap();
    assert_eq!(asked(), [(SECOND, 32)]);
    // What this device downloads no vector can own.
    assert!(registry.convert(array, "vectors", Options::default()).is_ok());
    assert_eq!(asked(), [(Device::CPU, 32), (Device::CPU, 32)]);
}

#[test]
fn what_is_not_admitted_gives_the_array_back() {
    static WATCH: Watch = Watch::new(8);
    let always = Options::default().copy(CopyPolicy::Always);
    let tensor = numbers();
    let address = tensor.data();
    let refused = WATCH.registry().convert(Array::new(tensor), "takes", always).unwrap_err();
    assert_eq!(refused.error().out_of_memory(), Some((Device::CPU, 16)));
    let back = refused.into_value().downcast::<ManagedTensor>().unwrap();
    assert_eq!(back.data(), address);
}

/// Host tools that have no memory the first two times.
struct Short(AtomicU32);

// SAFETY: where they return `Ok`, bridge-host's tools did, which keep the contract.
unsafe impl HostTools for Short {
    fn copy(&self, source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()> {
        if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
            let device = Device::CPU;
            return Err(TensorError::OutOfMemory { device, requested: 1 }.into());
        }
        bridge_host::copy(source, target)
    }

    fn cast(
        &self,
        source: &ManagedTensor,
        target: &mut ManagedTensor,
        overflow: Overflow,
    ) -> Result<()> {
        bridge_host::cast(source, target, overflow)
    }
}

#[test]
fn a_step_that_ran_out_of_memory_is_tried_again_as_long_as_room_is_made() {
    static WATCH: Watch = Watch::new(1 << 20);
    static SHORT: Short = Short(AtomicU32::new(0));
    let registry = Registry::new([
        Registration::backend(&TAKES),
        Registration::host_tools(&SHORT),
        Registration::admission(&WATCH),
    ]);
    let always = Options::default().copy(CopyPolicy::Always);
    assert!(registry.convert(Array::new(numbers()), "takes", always).is_ok());
    assert_eq!(WATCH.recovered.load(Ordering::Relaxed), 2, "two failures, then it fits");
}
