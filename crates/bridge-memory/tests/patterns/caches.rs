//! Conversions that are made once, and freed with their source.

use std::sync::{Arc, Barrier};
use std::thread;

use bridge_core::{Access, Array, DataType, Device, ManagedTensor, Owner, TensorSpec};
use bridge_memory::patterns::{ConversionCache, ConversionSource, Held, Lazy};
use bridge_testkit::DropCounter;
use bridge_testkit::fake_accelerator::{FakeArray, Faults, transfers};

use crate::support::{FAKE, HostArray, count, elements, fake, numbers, registry};

#[test]
fn a_second_call_converts_nothing() {
    let registry = registry();
    let cache = ConversionCache::of(&registry, 1 << 20);
    let array = ConversionSource::new(numbers(100)).unwrap();
    let counted = count();
    let first = cache.get(&array, FAKE, Some(fake(1))).unwrap();
    assert_eq!(counted.conversions(), 1);
    assert_eq!(first.with(|array| array.describe().unwrap().device), fake(1));
    // By an alias, of a clone: the same conversion.
    let second = cache.get(&array.clone(), "fake", Some(fake(1))).unwrap();
    assert!(second.is_same(&first));
    assert_eq!(counted.conversions(), 1);
    // Another device, another target, another array: each its own.
    cache.get(&array, FAKE, Some(fake(0))).unwrap();
    cache.get(&array, "host", None).unwrap();
    cache.get(&ConversionSource::new(numbers(100)).unwrap(), FAKE, Some(fake(1))).unwrap();
    assert_eq!(counted.conversions(), 4);
    let Held { hits, misses, conversions, bytes, .. } = cache.held();
    // The last array is gone, and what shares the host's memory takes none.
    assert_eq!((hits, misses, conversions, bytes), (1, 4, 3, 800));
}

#[test]
fn a_dropped_source_frees_its_conversions() {
    let registry = registry();
    let cache = ConversionCache::of(&registry, 1 << 20);
    let drops = DropCounter::new();
    let device = fake(1);
    let (kept, array) = (cache.get(&owned(&drops), FAKE, Some(device)).unwrap(), owned(&drops));
    assert_eq!((cache.held().conversions, drops.drops()), (0, 1));
    cache.get(&array, FAKE, Some(device)).unwrap();
    // This one shares the source's memory, and would keep it alive.
    cache.get(&array, "host", None).unwrap();
    assert_eq!((cache.held().conversions, cache.held().bytes), (2, 16));
    let clone = array.clone();
    drop(array);
    assert_eq!((cache.held().conversions, drops.drops()), (2, 1));
    drop(clone);
    assert_eq!((cache.held().conversions, cache.held().bytes, drops.drops()), (0, 0, 2));
    // What has been given out lives on.
    assert_eq!(kept.with(|array| array.describe().unwrap().device), device);
}

/// A host array of 16 bytes whose owner's drop is counted.
fn owned(drops: &DropCounter) -> ConversionSource {
    // A vector: a pointer into a box may not be used once the box has been moved.
    let values = vec![1.0_f32, 2.0, 3.0, 4.0];
    let data = values.as_ptr().cast_mut().cast();
    let spec = TensorSpec::row_major(DataType::F32, &[4]).unwrap();
    let owner = Owner::keep((values, drops.token()));
    let access = Access::ReadOnly;
    // SAFETY: the owner keeps the four values, to which nobody writes.
    let tensor = unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, access, owner) };
    ConversionSource::new(Array::new(HostArray(tensor.unwrap()))).unwrap()
}

#[test]
fn what_was_not_asked_for_the_longest_makes_room() {
    let registry = registry();
    let cache = ConversionCache::of(&registry, 1000);
    let arrays: Vec<_> = (0..3).map(|_| ConversionSource::new(numbers(100)).unwrap()).collect();
    let get = |index: usize| cache.get(&arrays[index], FAKE, Some(fake(0))).unwrap();
    get(0);
    get(1);
    get(0);
    get(2); // 1200 bytes: number 1 goes
    let held = cache.held();
    assert_eq!((held.conversions, held.bytes, held.evictions), (2, 800, 1));
    let counted = count();
    get(0);
    get(2);
    assert_eq!(counted.conversions(), 0);
    get(1);
    assert_eq!(counted.conversions(), 1);
    // Larger than the cache: made, not kept, and nothing goes for it.
    let large = ConversionSource::new(numbers(1000)).unwrap();
    let held = cache.held();
    cache.get(&large, FAKE, None).unwrap();
    assert_eq!(cache.held(), Held { misses: held.misses + 1, ..held });
}

#[test]
fn clearing_and_forgetting_free_conversions() {
    let registry = registry();
    let cache = ConversionCache::of(&registry, 1 << 20);
    let (one, other) =
        (ConversionSource::new(numbers(4)).unwrap(), ConversionSource::new(numbers(4)).unwrap());
    for array in [&one, &other] {
        cache.get(array, FAKE, None).unwrap();
    }
    cache.forget(&one);
    assert_eq!((cache.held().conversions, cache.held().bytes), (1, 16));
    cache.clear();
    assert_eq!((cache.held().conversions, cache.held().bytes), (0, 0));
    let counted = count();
    cache.get(&one, FAKE, None).unwrap();
    assert_eq!(counted.conversions(), 1);
}

#[test]
fn a_conversion_that_fails_is_tried_again() {
    let registry = registry();
    let cache = ConversionCache::of(&registry, 1 << 20);
    let array = ConversionSource::new(numbers(4)).unwrap();
    let failing = Faults::out_of_memory_at(0).install();
    let error = cache.get(&array, FAKE, Some(fake(0))).unwrap_err();
    assert!(error.out_of_memory().is_some(), "{error}");
    drop(failing);
    assert!(cache.get(&array, "no such", None).unwrap_err().to_string().contains("no such"));
    assert_eq!(cache.held(), Held::default());
    cache.get(&array, FAKE, Some(fake(0))).unwrap();
    assert_eq!(cache.held().conversions, 1);
    // The source is whole.
    cache.clear();
    assert_eq!(elements(array.try_unwrap().unwrap()), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn threads_that_ask_for_the_same_conversion_get_one() {
    let registry = registry();
    let cache = ConversionCache::of(&registry, 1 << 20);
    let array = ConversionSource::new(numbers(1 << 10)).unwrap();
    let start = Barrier::new(8);
    let (mut uploads, mut found) = (0, Vec::new());
    thread::scope(|scope| {
        let ask = || {
            start.wait();
            let converted = cache.get(&array, FAKE, Some(fake(1))).unwrap();
            (converted, transfers().uploads)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            let (converted, mine) = thread.join().unwrap();
            uploads += mine;
            found.push(converted);
        }
    });
    assert!(found.iter().all(|one| one.is_same(&found[0])));
    assert_eq!((uploads, cache.held().misses, cache.held().hits), (1, 1, 7));
}

#[test]
fn a_cache_may_go_before_its_sources_and_conversions() {
    let registry = registry();
    let array = ConversionSource::new(numbers(4)).unwrap();
    let cache = ConversionCache::of(&registry, 1 << 20);
    let converted = cache.get(&array, FAKE, None).unwrap();
    drop(cache);
    drop(array);
    let shape = converted.with(|array| {
        array.downcast_ref::<FakeArray>().map(|array| array.tensor().shape().to_vec())
    });
    assert_eq!(shape, Some(vec![4]));
}

#[test]
fn a_shared_array_comes_back_when_nobody_else_uses_it() {
    let shared = ConversionSource::new(numbers(3)).unwrap();
    let clone = shared.clone();
    let shared = shared.try_unwrap().unwrap_err();
    drop(clone);
    let alias = shared.alias();
    let shared = shared.try_unwrap().unwrap_err();
    drop(alias);
    assert_eq!(elements(shared.try_unwrap().unwrap()), [0.0, 1.0, 2.0]);
}

#[test]
fn a_lazy_array_converts_when_it_is_asked() {
    // The seed's scene: `as_type` twice.
    let registry = registry();
    let counted = count();
    let lazy = Lazy::of(&registry, numbers(16)).unwrap();
    assert_eq!(counted.conversions(), 0);
    let first = lazy.as_type(FAKE, Some(fake(0))).unwrap();
    let second = lazy.as_type(FAKE, Some(fake(0))).unwrap();
    assert!(first.is_same(&second));
    assert_eq!((counted.conversions(), lazy.held().bytes), (1, 64));
    lazy.clear();
    lazy.as_type(FAKE, Some(fake(0))).unwrap();
    assert_eq!(counted.conversions(), 2);
    // A conversion that shares the array's memory is freed before the array comes back.
    lazy.as_type("host", None).unwrap();
    assert_eq!(elements(lazy.into_array().unwrap()).len(), 16);
}

#[test]
fn a_lazy_array_that_is_used_elsewhere_stays() {
    let registry = registry();
    let lazy = Lazy::of(&registry, numbers(2)).unwrap();
    let held = lazy.as_type("host", None).unwrap();
    let lazy = lazy.into_array().unwrap_err();
    drop(held);
    assert_eq!(elements(lazy.into_array().unwrap()), [0.0, 1.0]);
}

#[test]
fn caches_and_what_they_give_out_may_be_shared_by_threads() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    let registry = registry();
    let cache = Arc::new(ConversionCache::of(&registry, 0));
    let array = ConversionSource::new(numbers(2)).unwrap();
    is_shared(&(Arc::clone(&cache), array.clone(), cache.get(&array, FAKE, None).unwrap()));
}
