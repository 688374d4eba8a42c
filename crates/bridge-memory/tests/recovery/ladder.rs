use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge_convert::ConvertByName;
use bridge_core::{Array, Device, DeviceKind, Error, ManagedTensor, Options, Registry};
use bridge_memory::recovery::{
    BatchSizes, RecoveryCounts, RecoveryEvent, RecoveryPolicy, Released, convert_or_host, counts,
    counts_by_device, counts_of, split_on_oom, with_oom_recovery, with_oom_recovery_of,
};
use bridge_testkit::bytes_of;
use bridge_testkit::fake_accelerator::{self, Faults};

use crate::caches::SHARED_IS_MINE;
use crate::support::{
    COUNTING, FrameworkError, GIVING, ILLEGAL_ACCESS, NO_MEMORY, SHARED, no_memory_on, registry,
};

/// What an observer was told, in short.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note(&self, event: &RecoveryEvent<'_>) {
        let text = match event {
            RecoveryEvent::OutOfMemory { attempt, devices, .. } => {
                format!("{attempt} ran out of memory on {devices:?}")
            }
            RecoveryEvent::Waited { wait, alone } => format!("waited {wait:?}, alone: {alone}"),
            RecoveryEvent::Released { released } => {
                let bytes: u64 = released.iter().map(Released::bytes).sum();
                format!("released {bytes}")
            }
            RecoveryEvent::Recovered { attempt } => format!("{attempt} succeeded"),
            RecoveryEvent::Split { from, to } => format!("{from} to {to}"),
            RecoveryEvent::GaveUp { attempts, error } => {
                format!("gave up after {attempts}: {error}")
            }
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Work that gives these answers, one a try.
fn answers<E: Clone>(
    answers: &[Result<u32, E>],
) -> (impl FnMut() -> Result<u32, E> + use<E>, &'static Mutex<usize>) {
    let tries: &'static Mutex<usize> = Box::leak(Box::default());
    let answers = answers.to_vec();
    let work = move || {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        answers[*tries - 1].clone()
    };
    (work, tries)
}

#[test]
fn the_rungs_come_in_order_and_each_is_told() {
    let _mine = SHARED_IS_MINE.lock().unwrap_or_else(PoisonError::into_inner);
    COUNTING.0.keep(100);
    GIVING.0.keep(20);
    let (registry, told) = (registry(), Told::default());
    let observer = |event: &RecoveryEvent<'_>| told.note(event);
    let waits = [Duration::from_millis(1), Duration::from_millis(2)];
    let policy = RecoveryPolicy::new().registry(&registry).observer(&observer).waits(&waits);
    let before = counts();

    let (work, tries) = answers(&[Err(no_memory_on(SHARED)), Err(no_memory_on(SHARED)), Ok(7)]);
    assert_eq!(with_oom_recovery(&policy, work).unwrap(), 7);
    assert_eq!(*tries.lock().unwrap(), 3);
    let expected = [
        "1 ran out of memory on [extension:40]",
        "waited 1ms, alone: true",
        "2 ran out of memory on [extension:40]",
        "waited 2ms, alone: true",
        "released 120",
        "3 succeeded",
    ];
    assert_eq!(told.take(), expected);
    let RecoveryCounts { out_of_memory, retries, recovered, .. } = counts();
    assert!(out_of_memory >= before.out_of_memory + 2);
    assert!(retries >= before.retries + 2);
    assert!(recovered > before.recovered);
}

/// An error that can be told from others of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Numbered(u32, FrameworkError);

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "try {} failed", self.0)
    }
}

impl StdError for Numbered {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.1)
    }
}

#[test]
fn the_first_error_is_given_back_whatever_the_others_were() {
    let (registry, told) = (registry(), Told::default());
    let observer = |event: &RecoveryEvent<'_>| told.note(event);
    let policy = RecoveryPolicy::new().registry(&registry).observer(&observer).waits(&[]);
    for (last, tries_made) in [(NO_MEMORY, 3), (ILLEGAL_ACCESS, 2)] {
        let (work, tries) = answers(&[
            Err(Numbered(1, NO_MEMORY)),
            Err(Numbered(2, last)),
            Err(Numbered(3, NO_MEMORY)),
        ]);
        let error = with_oom_recovery(&policy, work).unwrap_err();
        assert_eq!(error, Numbered(1, NO_MEMORY));
        assert_eq!(*tries.lock().unwrap(), tries_made);
        let told = told.take();
        let end = format!("gave up after {tries_made}: try {tries_made} failed");
        assert_eq!(told.last().unwrap(), &end);
    }
}

#[test]
fn a_near_miss_is_not_tried_again() {
    let (registry, told) = (registry(), Told::default());
    let observer = |event: &RecoveryEvent<'_>| told.note(event);
    let policy = RecoveryPolicy::new().registry(&registry).observer(&observer).waits(&[]);
    let (work, tries) = answers(&[Err(ILLEGAL_ACCESS), Ok(1)]);
    assert_eq!(with_oom_recovery(&policy, work).unwrap_err(), ILLEGAL_ACCESS);
    assert_eq!(*tries.lock().unwrap(), 1);
    assert_eq!(told.take(), [""; 0]);
}

#[test]
fn work_that_must_not_run_twice_does_not_and_makes_room() {
    let _mine = SHARED_IS_MINE.lock().unwrap_or_else(PoisonError::into_inner);
    GIVING.0.keep(5);
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).retries(9).once();
    let (work, tries) = answers(&[Err(no_memory_on(SHARED)), Ok(1)]);
    assert!(with_oom_recovery(&policy, work).is_err());
    assert_eq!((*tries.lock().unwrap(), GIVING.0.kept()), (1, 0));
}

#[test]
fn the_policy_says_how_often_and_whether_caches_go() {
    let _mine = SHARED_IS_MINE.lock().unwrap_or_else(PoisonError::into_inner);
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]);
    for (retries, tries_made) in [(0, 1), (1, 2), (5, 6)] {
        GIVING.0.keep(1);
        let policy = policy.retries(retries);
        let (work, tries) = answers(&[Err(NO_MEMORY); 9]);
        let work = with_oom_recovery(&policy.devices(&[SHARED]), work);
        assert_eq!(work.unwrap_err(), NO_MEMORY);
        assert_eq!(*tries.lock().unwrap(), tries_made);
        assert_eq!(GIVING.0.kept() == 0, retries > 0, "{retries}");
    }
    GIVING.0.keep(1);
    let (work, _) = answers(&[Err(NO_MEMORY); 9]);
    let keeping = policy.clear_caches(false).devices(&[SHARED]);
    assert!(with_oom_recovery(&keeping, work).is_err());
    assert!(GIVING.0.kept() > 0);
    // Where nobody names a device, it is those of the backend whose error it is.
    COUNTING.0.keep(1);
    let (work, _) = answers(&[Err(NO_MEMORY), Ok(1)]);
    assert!(with_oom_recovery(&policy.retries(1), work).is_ok());
    assert_eq!((COUNTING.0.kept(), GIVING.0.kept()), (0, 0));
}

#[test]
fn boxed_errors_are_looked_into() {
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]);
    let mut tries = 0;
    let work = || -> Result<u32, Box<dyn StdError + Send + Sync>> {
        tries += 1;
        if tries == 1 { Err(Box::from(NO_MEMORY)) } else { Ok(tries) }
    };
    let done = with_oom_recovery_of(&policy, |error| error.as_ref(), work);
    assert_eq!(done.unwrap(), 2);
}

fn converted(
    policy: &RecoveryPolicy<'_>,
    registry: &Registry,
    array: Array,
    device: Device,
) -> Result<Array, Error> {
    let mut held = Some(array);
    with_oom_recovery(policy, || {
        let array = held.take().expect("each failure gives it back");
        let options = Options::default().on(device);
        registry.convert(array, "fake-accelerator", options).map_err(|refused| {
            let (array, error) = refused.into_parts();
            held = Some(array);
            error
        })
    })
}

#[test]
fn a_conversion_recovers_at_whichever_allocation_it_runs_out_of_memory() {
    let registry = registry();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]);
    let (there, other) = (fake_accelerator::DEVICES[0], fake_accelerator::DEVICES[1]);
    for nth in 0..3 {
        let failing = Faults::out_of_memory_at(nth).install();
        let host = ManagedTensor::from_vec(vec![1_u8, 2, 3], &[3]).unwrap();
        let array = converted(&policy, &registry, Array::new(host), there).unwrap();
        let array = converted(&policy, &registry, array, other).unwrap();
        drop(failing);
        let tensor = array.export().unwrap();
        let runtime = registry.runtime(other).unwrap();
        let back = runtime.transfer(&tensor, Device::CPU).unwrap();
        assert_eq!(bytes_of(&back), [1, 2, 3], "{nth}");
    }
}

#[test]
fn each_device_has_its_own_counts() {
    let registry = registry();
    let [one, other] = [60, 61].map(|ordinal| Device::new(DeviceKind::Extension, ordinal));
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).retries(1);
    let (work, _) = answers(&[Err(no_memory_on(one)), Ok(1)]);
    with_oom_recovery(&policy, work).unwrap();
    let (work, _) = answers(&[Err(no_memory_on(other)), Err(no_memory_on(other)), Ok(1)]);
    with_oom_recovery(&policy, work).unwrap_err();
    let told = |device| {
        let RecoveryCounts { out_of_memory, retries, recovered, gave_up, releases, .. } =
            counts_of(device);
        [out_of_memory, retries, recovered, gave_up, releases]
    };
    assert_eq!(told(one), [1, 1, 1, 0, 1]);
    assert_eq!(told(other), [2, 1, 0, 1, 1]);

    let sizes = BatchSizes::new(4, 1).unwrap();
    let halves = split_on_oom(&policy.retries(0), &[1, 2, 3, 4], sizes, |batch: &[i32]| {
        if batch.len() > 2 { Err(no_memory_on(one)) } else { Ok(()) }
    });
    assert_eq!((halves.unwrap().len(), counts_of(one).splits, counts_of(other).splits), (2, 1, 0));

    let host = Array::new(ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap());
    convert_or_host(&registry, host, "nowhere", Options::default().on(other)).unwrap();
    // To that backend on the host, and to a tensor there.
    assert_eq!((counts_of(one).fallbacks, counts_of(other).fallbacks), (0, 2));
    let all = counts_by_device();
    assert!(all.contains(&(one, counts_of(one))) && all.contains(&(other, counts_of(other))));
    assert_eq!(counts_of(Device::new(DeviceKind::Extension, 62)), RecoveryCounts::default());
}

#[test]
fn counts_can_be_stored() {
    let text = serde_json::to_string(&counts()).unwrap();
    assert!(text.contains("\"released_bytes\":"), "{text}");
    let _: RecoveryCounts = serde_json::from_str(&text).unwrap();
}

#[test]
fn unknown_devices_are_no_obstacle() {
    let registry = registry();
    let nowhere = Device::new(DeviceKind::Extension, 4000);
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).retries(1);
    let (work, _) = answers(&[Err(no_memory_on(nowhere)), Ok(1)]);
    assert_eq!(with_oom_recovery(&policy, work).unwrap(), 1);
}
