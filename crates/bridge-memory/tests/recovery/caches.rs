use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bridge_core::{Device, DeviceKind};
use bridge_memory::recovery::{counts, on_release, release_caches};

use crate::support::{BROKEN, COUNTING, GIVING, IDLE, SHARED, UNUSED, registry};

/// What the frameworks keep of [`SHARED`] is one test's at a time.
pub(crate) static SHARED_IS_MINE: Mutex<()> = Mutex::new(());

#[test]
fn every_holder_of_the_device_gives_back_what_it_keeps() {
    let _mine = SHARED_IS_MINE.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = Arc::new(AtomicU64::new(1000));
    let hook = {
        let pool = Arc::clone(&pool);
        on_release("pool", SHARED, move || pool.swap(0, Ordering::SeqCst))
    };
    COUNTING.0.keep(200);
    GIVING.0.keep(30);
    let before = counts();
    let released = release_caches(&registry(), SHARED);
    let given: Vec<_> =
        released.holders.iter().map(|one| (one.holder.as_str(), one.bytes)).collect();
    assert_eq!(given, [("pool", 1000), ("counting", 200), ("giving", 30)]);
    assert_eq!((released.bytes(), released.failed.len()), (1230, 0));
    assert_eq!((COUNTING.0.kept(), GIVING.0.kept()), (0, 0));
    let after = counts();
    assert!(after.releases > before.releases);
    assert!(after.released_bytes >= before.released_bytes + 1230);

    // Another device, and nothing left.
    pool.store(5, Ordering::SeqCst);
    COUNTING.0.keep(7);
    assert_eq!(release_caches(&registry(), Device::new(DeviceKind::Extension, 43)).bytes(), 0);
    assert_eq!(release_caches(&registry(), SHARED).bytes(), 12);

    // A pool that is gone is not asked.
    drop(hook);
    pool.store(5, Ordering::SeqCst);
    assert_eq!(release_caches(&registry(), SHARED).bytes(), 0);
}

#[test]
fn one_that_fails_is_told_and_the_others_are_asked() {
    let calm = on_release("calm pool", BROKEN, || 11);
    let wild = on_release("wild pool", BROKEN, || panic!("a pool's mistake"));
    let released = release_caches(&registry(), BROKEN);
    assert_eq!(released.bytes(), 11);
    let failed: Vec<_> = released.failed.iter().map(|one| one.holder.as_str()).collect();
    assert_eq!(failed, ["wild pool", "failing", "panicking"]);
    let text = released.to_string();
    for told in ["a pool's mistake", "extension:41 is lost", "an allocator's mistake"] {
        assert!(text.contains(told), "{text}");
    }
    drop((calm, wild));
}

#[test]
fn a_framework_that_keeps_nothing_is_not_loaded_for_it() {
    let loaded = IDLE.0.times_loaded();
    assert_eq!(release_caches(&registry(), UNUSED).bytes(), 0);
    assert_eq!(IDLE.0.times_loaded(), loaded);
    IDLE.0.keep(9);
    assert_eq!(release_caches(&registry(), UNUSED).bytes(), 9);
}

#[test]
fn a_hook_may_register_and_drop_others() {
    let device = Device::new(DeviceKind::Extension, 44);
    let inner = Arc::new(Mutex::new(Some(on_release("inner", device, || 1))));
    let outer = {
        let inner = Arc::clone(&inner);
        on_release("outer", device, move || {
            drop(inner.lock().unwrap().take());
            *inner.lock().unwrap() = Some(on_release("inner", device, || 2));
            4
        })
    };
    // The list is that of the start: the hook that goes meanwhile comes to its end.
    assert_eq!(release_caches(&registry(), device).bytes(), 5);
    assert_eq!(release_caches(&registry(), device).bytes(), 6);
    drop(outer);
}

#[test]
fn pinned_memory_is_the_hosts_and_managed_memory_the_gpus() {
    let pinned = Device::new(DeviceKind::CudaHost, 0);
    let managed = Device::new(DeviceKind::CudaManaged, 5);
    let hooks =
        [on_release("pinned pool", pinned, || 3), on_release("gpu pool", Device::cuda(5), || 4)];
    for (asked, holder) in
        [(Device::CPU, "pinned pool"), (pinned, "pinned pool"), (managed, "gpu pool")]
    {
        let released = release_caches(&registry(), asked);
        assert!(released.holders.iter().any(|one| one.holder == holder), "{released}");
    }
    drop(hooks);
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[cfg_attr(miri, ignore = "Miri has its own malloc")]
fn the_c_library_gives_the_hosts_memory_back() {
    // Blocks below the size that malloc maps apart, with one at the end that keeps the heap long.
    let mut blocks: Vec<Box<[u8]>> = (0..4096).map(|_| vec![1; 16 << 10].into()).collect();
    let last = blocks.pop();
    drop(blocks);
    let released = release_caches(&registry(), Device::CPU);
    let malloc = released.holders.iter().find(|one| one.holder == "malloc");
    let bytes = malloc.map_or(0, |one| one.bytes);
    assert!(bytes > 32 << 20, "{released}");
    drop(last);
}
