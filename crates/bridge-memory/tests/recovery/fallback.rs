use std::error::Error as StdError;
use std::sync::Mutex;

use bridge_convert::ConvertByName;
use bridge_core::{Array, Device, Error, ManagedTensor, Options, Registry};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::recovery::{
    FallbackChain, RecoveryEvent, RecoveryPolicy, convert_or_host, convert_or_host_with,
};
use bridge_testkit::bytes_of;
use bridge_testkit::fake_accelerator::{DEVICES, FakeArray, Faults};

use crate::support::{ILLEGAL_ACCESS, NO_MEMORY, registry};

fn numbers() -> Array {
    Array::new(ManagedTensor::from_vec(vec![1_u8, 2, 3, 4], &[4]).unwrap())
}

fn chain() -> FallbackChain<'static> {
    let chain = FallbackChain::new(["absent", "fake", "fake-accelerator"]).unwrap();
    chain.on(1, DEVICES[0]).unwrap().on(2, DEVICES[1]).unwrap()
}

fn device_of(array: &Array) -> Device {
    array.describe().unwrap().device
}

/// A copy of an array of the fake accelerator, on its device.
fn copied(registry: &Registry, array: &Array) -> Result<Array, Error> {
    let tensor = array.downcast_ref::<FakeArray>().expect("it is there").tensor();
    let copy = registry.runtime(tensor.device())?.copy(tensor)?;
    registry.convert(Array::new(copy), "fake", Options::default()).map_err(Error::from)
}

#[test]
fn the_first_backend_that_can_does_it_and_the_errors_before_are_kept() {
    let registry = registry();
    let tried = chain().run(&registry, numbers(), |array| match device_of(array) {
        device if device == DEVICES[0] => Err(NO_MEMORY),
        device => Ok(device),
    });
    let tried = tried.unwrap();
    assert_eq!((tried.value, &*tried.backend), (DEVICES[1], "fake-accelerator"));
    assert_eq!(device_of(&tried.array), DEVICES[1]);
    let failed: Vec<_> = tried.failed.iter().map(|one| (&*one.backend, one.device)).collect();
    assert_eq!(failed, [("absent", None), ("fake", Some(DEVICES[0]))]);
    assert!(tried.failed[1].error.is::<crate::support::FrameworkError>());
}

#[test]
fn a_result_comes_back_to_where_the_array_was() {
    let registry = registry();
    let tried = chain().map(&registry, numbers(), |array| copied(&registry, array)).unwrap();
    assert_eq!((tried.value.descriptor().name, tried.failed.len()), ("dlpack", 1));
    let tensor: ManagedTensor = tried.value.downcast().unwrap();
    assert_eq!((tensor.device(), &*bytes_of(&tensor)), (Device::CPU, &[1, 2, 3, 4][..]));

    // From a device to the same device, by way of another.
    let there = registry.convert(numbers(), "fake", Options::default().on(DEVICES[1])).unwrap();
    let chain = FallbackChain::new(["fake"]).unwrap().on(0, DEVICES[0]).unwrap();
    let tried = chain.map(&registry, there, |array| copied(&registry, array)).unwrap();
    assert_eq!(device_of(&tried.array), DEVICES[0]);
    assert_eq!(device_of(&tried.value), DEVICES[1]);
}

#[test]
fn a_backend_that_has_no_memory_for_the_array_is_passed_over() {
    let registry = registry();
    for nth in 0..2 {
        // Allocation 0 is the upload, 1 what the work makes.
        let failing = Faults::out_of_memory_at(nth).install();
        let tried = chain().map(&registry, numbers(), |array| copied(&registry, array)).unwrap();
        drop(failing);
        assert_eq!((&*tried.backend, tried.failed.len()), ("fake-accelerator", 2), "{nth}");
        let tensor: ManagedTensor = tried.value.downcast().unwrap();
        assert_eq!(bytes_of(&tensor), [1, 2, 3, 4]);
    }
}

#[test]
fn where_all_fail_each_is_told_and_the_array_is_unharmed() {
    let registry = registry();
    let mut asked = Vec::new();
    let refused = chain()
        .run(&registry, numbers(), |array| -> Result<(), _> {
            asked.push(device_of(array));
            Err(if asked.len() == 1 { NO_MEMORY } else { ILLEGAL_ACCESS })
        })
        .unwrap_err();
    assert_eq!(asked, DEVICES[..2]);
    let text = refused.error().to_string();
    for told in [
        "absent: there is no backend \"absent\"",
        "fake on extension:0: the framework says 2",
        "fake-accelerator on extension:1: the framework says 700",
    ] {
        assert!(text.contains(told), "{text}");
    }
    let source = refused.error().source().unwrap();
    assert_eq!(source.downcast_ref(), Some(&ILLEGAL_ACCESS));
    let tensor: ManagedTensor = refused.into_value().downcast().unwrap();
    assert_eq!((tensor.device(), &*bytes_of(&tensor)), (Device::CPU, &[1, 2, 3, 4][..]));
}

#[test]
fn other_failures_end_it_where_the_caller_says_so() {
    let registry = registry();
    let chain = FallbackChain::new(["fake", "fake"]).unwrap().only_out_of_memory();
    for (error, tries) in [(ILLEGAL_ACCESS, 1), (NO_MEMORY, 2)] {
        let work = |_: &Array| Err::<(), _>(error);
        let refused = chain.run(&registry, numbers(), work).unwrap_err();
        assert_eq!(refused.error().attempts().len(), tries);
    }
}

#[test]
fn chains_that_cannot_be_are_refused() {
    let error = FallbackChain::new([""; 0]).unwrap_err().to_string();
    assert!(error.contains("the list of backends is empty"), "{error}");
    let error = FallbackChain::new(["torch"]).unwrap().on(1, Device::CPU).unwrap_err().to_string();
    assert!(error.contains("the backend's place is 1"), "{error}");
}

#[test]
fn an_array_that_the_device_does_not_take_goes_to_the_host() {
    let registry = registry();
    let there = convert_or_host(&registry, numbers(), "fake", Options::default()).unwrap();
    assert!(there.refused.is_none());
    assert!(device_of(&there.array) != Device::CPU);

    let failing = Faults::out_of_memory_at(0).install();
    let there = convert_or_host(&registry, numbers(), "fake", Options::default()).unwrap();
    drop(failing);
    assert!(there.refused.unwrap().out_of_memory().is_some());
    let tensor: ManagedTensor = there.array.downcast().unwrap();
    assert_eq!((tensor.device(), &*bytes_of(&tensor)), (Device::CPU, &[1, 2, 3, 4][..]));

    // From another device too.
    let there = registry.convert(numbers(), "fake", Options::default().on(DEVICES[1])).unwrap();
    let there = convert_or_host(&registry, there, "absent", Options::default()).unwrap();
    assert!(matches!(there.refused, Some(Error::UnknownBackend { .. })));
    assert_eq!(device_of(&there.array), Device::CPU);
}

/// What an observer was told, in words.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note(&self, event: &RecoveryEvent<'_>) {
        self.0.lock().unwrap().push(event.to_string());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn each_backend_climbs_the_policys_rungs_before_the_next_is_gone_to() {
    let (registry, told) = (registry(), Told::default());
    let observer = |event: &RecoveryEvent<'_>| told.note(event);
    let policy = RecoveryPolicy::new().retries(1).waits(&[]).clear_caches(false);
    let policy = policy.observer(&observer);
    let mut asked = Vec::new();
    let tried = chain().policy(&policy).run(&registry, numbers(), |array| {
        asked.push(device_of(array));
        if asked.len() == 4 { Ok("done") } else { Err(NO_MEMORY) }
    });
    let tried = tried.unwrap();
    assert_eq!((tried.value, tried.failed.len()), ("done", 2));
    assert_eq!(asked, [DEVICES[0], DEVICES[0], DEVICES[1], DEVICES[1]]);
    let expected = [
        "fell back from absent to fake on extension:0",
        "out of memory on extension:0",
        "waited 0ns, alone now",
        "out of memory on extension:0",
        "gave up after 2 tries",
        "fell back from fake to fake-accelerator on extension:1",
        "out of memory on extension:1",
        "waited 0ns, alone now",
        "try 2 succeeded",
    ];
    assert_eq!(told.take(), expected);

    // What the policy names counts, and no other device.
    let other = [DEVICES[2]];
    let named = policy.devices(&other).retries(0);
    let chain = FallbackChain::new(["fake"]).unwrap().on(0, DEVICES[0]).unwrap();
    let refused =
        chain.policy(&named).run(&registry, numbers(), |_| Err::<(), _>(NO_MEMORY)).unwrap_err();
    assert_eq!(told.take(), ["out of memory on extension:2", "gave up after 1 try"]);
    assert_eq!(refused.error().attempts().len(), 1);
}

#[test]
fn an_observer_is_told_where_a_chain_goes_and_why() {
    let (registry, told) = (registry(), Told::default());
    let observer = |event: &RecoveryEvent<'_>| {
        let RecoveryEvent::FellBack { error, .. } = event else { panic!("{event:?}") };
        told.0.lock().unwrap().push(format!("{event}: {error}"));
    };
    let chain = chain().observer(&observer);
    let work = |array: &Array| match device_of(array) {
        device if device == DEVICES[0] => Err(ILLEGAL_ACCESS),
        _ => Ok(()),
    };
    chain.run(&registry, numbers(), work).unwrap();
    let [absent, illegal] = &told.take()[..] else { panic!("two steps") };
    let says =
        |text: &str, all: [&str; 2]| assert!(all.iter().all(|one| text.contains(one)), "{text}");
    says(
        absent,
        ["fell back from absent to fake on extension:0", "there is no backend \"absent\""],
    );
    says(illegal, ["from fake to fake-accelerator on extension:1", "the framework says 700"]);
    // In place of the policy's, which would be told of more.
    let unasked = |event: &RecoveryEvent<'_>| panic!("{event:?}");
    let policy = RecoveryPolicy::new().observer(&unasked);
    chain.policy(&policy).run(&registry, numbers(), work).unwrap();
    assert_eq!(told.take().len(), 2);
}

#[test]
fn a_backend_for_which_a_budget_has_no_room_is_passed_over() {
    let registry = registry();
    let budget = Budget::of_device("gpu", 3, DEVICES[0]).unwrap();
    let chain = FallbackChain::new(["fake", "fake"]).unwrap().only_out_of_memory();
    let chain = chain.on(0, DEVICES[0]).unwrap().on(1, DEVICES[1]).unwrap().within(&budget);
    // There will never be 4 bytes on the first device; the other is not counted.
    let tried = chain.run(&registry, numbers(), |array| Ok::<_, Error>(device_of(array))).unwrap();
    assert_eq!(tried.value, DEVICES[1]);
    let why = tried.failed[0].error.downcast_ref::<Error>().and_then(Shortage::of);
    assert!(matches!(why, Some(Shortage::Never { need: 4, capacity: 3, .. })), "{why:?}");
    // Room that there will be later counts as out of memory too.
    budget.set_capacity(4).unwrap();
    let held = budget.reserve(1).unwrap();
    let tried = chain.run(&registry, numbers(), |array| Ok::<_, Error>(device_of(array))).unwrap();
    assert_eq!(tried.value, DEVICES[1]);
    drop(held);
    let tried = chain.run(&registry, numbers(), |array| Ok::<_, Error>(device_of(array))).unwrap();
    assert_eq!((tried.value, budget.reserved()), (DEVICES[0], 0));
    assert_eq!(budget.status().peak, 4, "the conversion had asked");
}

#[test]
fn work_that_must_not_run_twice_does_not() {
    let (registry, mut runs) = (registry(), 0);
    let once = RecoveryPolicy::new().once().clear_caches(false);
    let refused = chain()
        .policy(&once)
        .run(&registry, numbers(), |_| {
            runs += 1;
            Err::<(), _>(NO_MEMORY)
        })
        .unwrap_err();
    // The first backend could not be gone to, so that nothing had run.
    assert_eq!((runs, refused.error().attempts().len()), (1, 2));
    let tensor: ManagedTensor = refused.into_value().downcast().unwrap();
    assert_eq!(bytes_of(&tensor), [1, 2, 3, 4]);
}

#[test]
fn the_way_to_the_host_is_told_and_comes_after_the_policys_rungs() {
    let (registry, told) = (registry(), Told::default());
    let observer = |event: &RecoveryEvent<'_>| told.note(event);
    let policy = RecoveryPolicy::new().waits(&[]).clear_caches(false).observer(&observer);
    let options = Options::default().on(DEVICES[0]);
    let convert = |retries| {
        let failing = Faults::out_of_memory_at(0).install();
        let policy = policy.retries(retries);
        let there = convert_or_host_with(&policy, &registry, numbers(), "fake", options).unwrap();
        drop(failing);
        there
    };
    let there = convert(1);
    assert_eq!((device_of(&there.array), there.refused.is_none()), (DEVICES[0], true));
    let out = "out of memory on extension:0";
    assert_eq!(told.take(), [out, "waited 0ns, alone now", "try 2 succeeded"]);

    let there = convert(0);
    assert_eq!(device_of(&there.array), Device::CPU);
    assert!(there.refused.unwrap().out_of_memory().is_some());
    let expected = [
        out,
        "gave up after 1 try",
        "fell back from fake to fake on cpu",
        "fell back from fake to dlpack on cpu",
    ];
    assert_eq!(told.take(), expected);
}
