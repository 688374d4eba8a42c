//! Who listens to the recoveries of the whole program.

use std::sync::{Arc, Mutex};
use std::thread;

use bridge_convert::ConvertByName as _;
use bridge_core::{Array, Device, DeviceKind, Error, ManagedTensor, Options, Refused};
use bridge_memory::budget::Budget;
use bridge_memory::profile::Monitor;
use bridge_memory::recovery::{
    EventHook, RecoveryPolicy, on_event, on_release, release_caches, with_oom_recovery,
};

use bridge_testkit::fake_accelerator::{DEVICES, Faults};

use crate::support::{no_memory_on, registry};

/// A device of one test alone, as other tests of this process recover too.
fn device(ordinal: u32) -> Device {
    Device::new(DeviceKind::Extension, ordinal)
}

/// What is told about `name`.
fn listen(name: &str) -> (EventHook, Arc<Mutex<Vec<String>>>) {
    let (told, name) = (Arc::new(Mutex::new(Vec::new())), name.to_owned());
    let hook = {
        let told = Arc::clone(&told);
        on_event(move |event| {
            let text = event.to_string();
            if text.contains(&name) {
                told.lock().unwrap().push(text);
            }
        })
    };
    (hook, told)
}

/// Work that runs out of memory once.
fn recover_on(device: Device) {
    let (registry, mut tries) = (registry(), 0);
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).retries(1);
    let done = with_oom_recovery(&policy, || {
        tries += 1;
        if tries == 1 { Err(no_memory_on(device)) } else { Ok::<_, Error>(()) }
    });
    done.unwrap();
}

#[test]
fn whoever_listens_is_told_of_all_recoveries_until_the_hook_is_dropped() {
    let device = device(70);
    let pool = on_release("pool", device, || 2048);
    // A listener that panics keeps neither the others nor the recovery from going on.
    let wild = on_event(|_| panic!("a listener's mistake"));
    let (hook, told) = listen("extension:70");
    recover_on(device);
    let once = ["out of memory on extension:70", "2.0 KiB of extension:70 given back"];
    assert_eq!(*told.lock().unwrap(), once);
    // Caches that are released without a recovery.
    release_caches(&registry(), device);
    assert_eq!(told.lock().unwrap().len(), 3);
    drop(hook);
    recover_on(device);
    assert_eq!(told.lock().unwrap().len(), 3);
    drop((wild, pool));
}

#[test]
fn a_budget_that_gets_something_back_is_told() {
    let budget = Budget::new("budget of a listener", 1000).unwrap();
    let held = Arc::new(Mutex::new(Some(budget.reserve(800).unwrap())));
    let relief = {
        let held = Arc::clone(&held);
        budget.on_pressure("cache", move |_| {
            held.lock().unwrap().take().map_or(0, |held| held.bytes())
        })
    };
    let (hook, told) = listen("budget of a listener");
    drop(budget.reserve(600).unwrap());
    assert_eq!(*told.lock().unwrap(), ["800 B given back to \"budget of a listener\""]);
    // Where nobody has anything, nothing happened.
    let all = budget.reserve(1000).unwrap();
    assert!(budget.reserve(1).is_err());
    assert_eq!(told.lock().unwrap().len(), 1);
    drop((hook, relief, all));
}

#[test]
fn a_conversion_within_a_budget_that_runs_out_of_memory_is_told() {
    let registry = registry();
    let gpu = DEVICES[1];
    let budget = Budget::of_device("gpu of a listener", 1000, gpu).unwrap();
    let (hook, told) = listen(&gpu.to_string());
    let array = Array::new(ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap());
    let failing = Faults::out_of_memory_at(0).install();
    let options = Options::default().on(gpu).within(&budget);
    registry.convert(array, "fake", options).unwrap();
    drop(failing);
    assert!(told.lock().unwrap().contains(&format!("out of memory on {gpu}")));
    drop(hook);
}

/// A conversion within a budget fails, also once caches have been given back, and is done again by a ladder
/// around it.
#[test]
fn one_out_of_memory_is_told_once_by_a_ladder_around_a_budget() {
    let registry = registry();
    let gpu = DEVICES[0];
    let budget = Budget::of_device("gpu of a ladder", 1000, gpu).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let (told, me) = (Arc::clone(&told), thread::current().id());
        on_event(move |event| {
            if thread::current().id() == me {
                told.lock().unwrap().push(event.to_string());
            }
        })
    };
    // The next allocation fails too, and those after it do not.
    let release = on_release("pool", gpu, || {
        std::mem::forget(Faults::out_of_memory_at(0).install());
        2048
    });
    let failing = Faults::out_of_memory_at(0).install();
    let policy = RecoveryPolicy::new().registry(&registry).waits(&[]).clear_caches(false);
    let mut tries = 0;
    let done = with_oom_recovery(&policy, || {
        tries += 1;
        let array = Array::new(ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap());
        let options = Options::default().on(gpu).within(&budget);
        registry.convert(array, "fake", options).map_err(Refused::into_error)
    });
    drop((failing, release, hook));
    assert_eq!((done.unwrap().describe().unwrap().device, tries), (gpu, 2));
    let expected = [
        "out of memory on extension:0",
        "2.0 KiB of extension:0 given back",
        "gave up after 2 tries",
        "out of memory on extension:0",
        "waited 0ns, alone now",
        "try 2 succeeded",
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn a_monitor_marks_recoveries_where_it_is_asked_to() {
    let device = device(71);
    let pool = on_release("pool", device, || 2048);
    let monitor = |builder: bridge_memory::profile::MonitorBuilder| {
        let monitor = builder.sampler(|| Ok(Vec::new())).start().unwrap();
        recover_on(device);
        monitor.finish()
    };
    let of_it = |recording: bridge_memory::profile::Recording| {
        let marks = recording.marks.into_iter().map(|mark| mark.what);
        marks.filter(|what| what.contains("extension:71")).collect::<Vec<_>>()
    };
    let every = || Monitor::every(60.0).unwrap();
    let marks = of_it(monitor(every().mark_recovery()));
    assert_eq!(marks, ["out of memory on extension:71", "2.0 KiB of extension:71 given back"]);
    assert_eq!(of_it(monitor(every())), [""; 0]);
    // Where nothing was given back, nothing is marked.
    drop(pool);
    assert_eq!(of_it(monitor(every().mark_recovery())), ["out of memory on extension:71"]);
}
