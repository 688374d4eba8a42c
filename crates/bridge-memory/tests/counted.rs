//! The most that is allocated, in a program that counts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use bridge_convert::ConvertByName as _;
use bridge_core::{
    Array, CopyPolicy, DataType, Dlpack, ManagedTensor, Options, Registration, Registry, TensorSpec,
};
use bridge_memory::profile::{CountingAllocator, PeakScope, allocated_bytes, profile};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

const MIB: u64 = 1 << 20;

/// One test at a time: all of them count the whole program.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block(mib: u64) -> Vec<u8> {
    vec![1; (mib * MIB) as usize]
}

/// What a scope has seen, without what the test's harness allocates beside it.
fn mib(scope: PeakScope) -> u64 {
    (scope.finish().expect("this program counts").growth() + MIB / 2) / MIB
}

#[test]
fn a_scope_sees_the_most_that_was_there_at_once() {
    let _alone = alone();
    let scope = PeakScope::start();
    drop(block(8));
    drop(block(32));
    let kept = block(16);
    assert_eq!(mib(scope), 32);
    drop(kept);
}

#[test]
fn each_of_nested_scopes_has_its_own_peak() {
    let _alone = alone();
    let outer = PeakScope::start();
    drop(block(64));
    let middle = PeakScope::start();
    let kept = block(4);
    let inner = PeakScope::start();
    drop(block(16));
    assert_eq!(mib(inner), 16);
    drop(kept);
    assert_eq!(mib(middle), 20);
    assert_eq!(mib(outer), 64);
}

#[test]
fn an_outer_scope_sees_what_an_inner_one_saw() {
    let _alone = alone();
    let outer = PeakScope::start();
    let inner = PeakScope::start();
    drop(block(16));
    drop(inner); // dropped without a question
    let later = PeakScope::start();
    assert_eq!(mib(later), 0);
    assert_eq!(mib(outer), 16);
}

#[test]
fn scopes_may_overlap_and_end_in_any_order() {
    let _alone = alone();
    let first = PeakScope::start();
    drop(block(32));
    let second = PeakScope::start();
    drop(block(8));
    assert_eq!(mib(first), 32);
    drop(block(12));
    assert_eq!(mib(second), 12);
}

#[test]
fn other_threads_are_counted_and_memory_may_change_hands() {
    let _alone = alone();
    let before = allocated_bytes().unwrap();
    let scope = PeakScope::start();
    let kept = thread::spawn(|| block(8)).join().unwrap();
    let more = block(8);
    drop((kept, more));
    assert_eq!(mib(scope), 16);
    assert!(allocated_bytes().unwrap().abs_diff(before) < MIB as usize / 2);
}

#[test]
fn what_grows_and_shrinks_in_place_is_counted() {
    let _alone = alone();
    let scope = PeakScope::start();
    let mut grown = block(4);
    grown.reserve_exact((12 * MIB) as usize);
    assert_eq!(mib(scope), 16);
    let scope = PeakScope::start();
    grown.shrink_to_fit();
    drop(block(8));
    // Twelve were given back before the eight.
    assert_eq!(mib(scope), 0);
    drop(grown);
}

#[test]
fn a_profile_tells_the_peak() {
    let _alone = alone();
    let (kept, delta) = profile("two blocks", || {
        let kept = block(8);
        drop(block(24));
        kept
    });
    assert_eq!((delta.peak.unwrap() + MIB / 2) / MIB, 32);
    assert!(delta.to_string().contains("peak +32."), "{delta}");
    drop(kept);
}

/// What a conversion on the host takes is what its plan says, but for shapes and handles.
#[test]
#[cfg_attr(miri, ignore = "so many elements take Miri minutes")]
fn a_conversion_on_the_host_takes_what_its_plan_says() {
    const KIB: u64 = 1 << 10;
    let _alone = alone();
    let tools = Registration::host_tools(&bridge_host::HostKernels);
    let registry = Registry::new([Registration::backend(&Dlpack), tools]);
    let taken = |make: &dyn Fn() -> ManagedTensor, options| {
        let convert = || {
            let array = Array::new(make());
            let plan = registry.plan(&array, "dlpack", &options).unwrap();
            let scope = PeakScope::start();
            drop(registry.convert(array, "dlpack", options).unwrap());
            let told: u64 = plan.peaks.iter().map(|peak| peak.bytes).sum();
            (told, scope.finish().unwrap().growth())
        };
        convert(); // what is made once is not counted
        convert()
    };
    let square = |side: usize| {
        move || ManagedTensor::from_vec(vec![1_u8; side * side], &[side, side]).unwrap()
    };
    let turned = |side| move || square(side)().permuted(&[1, 0]).unwrap();
    let packed = || {
        let spec = TensorSpec::row_major(DataType::F4E2M1FN, &[250_000]).unwrap();
        bridge_host::zeroed(&spec, 1).unwrap()
    };
    let copy = Options::default().copy(CopyPolicy::Always);
    let cast = Options::default().cast(DataType::F32);
    for (what, (told, taken), result, buffers) in [
        ("a copy", taken(&square(500), copy), 250_000, 0),
        ("a cast", taken(&square(500), cast), 1_000_000, 0),
        ("a cast of packed elements", taken(&packed, cast), 1_000_000, 250_000),
        ("a copy in another order", taken(&turned(500), copy), 250_000, 144 * KIB),
        ("a cast in another order", taken(&turned(500), cast), 1_000_000, 144 * KIB),
    ] {
        assert_eq!(told, result + buffers, "{what}");
        assert!((told..told + 4 * KIB).contains(&taken), "{what}: {taken} for {told}");
    }
    // Threads have their buffers at the same time, or one after the other.
    let (threads, result) = (bridge_host::max_threads() as u64, 4 * 3000 * 3000);
    let (told, taken) = taken(&turned(3000), cast);
    let buffer = (told - result) / threads.min(18);
    assert!(buffer > 100 * KIB, "{told}");
    assert!((result + buffer..told + 16 * KIB).contains(&taken), "{taken} for {told}");
}
