//! Calls within a budget, and what comes back of calls that fail.

use bridge_convert::ConvertByName;
use bridge_core::{Array, DataType, Device, Error, Options, Result};
use bridge_memory::budget::{Budget, Shortage};
use bridge_memory::call::{Call, CallOptions, DtypeConversion, Rescale, call, call_by_slice};
use bridge_memory::pool::{Exact, Pool, PoolOptions};
use bridge_testkit::fake_accelerator::DEVICES;
use ndarray::ArrayD;

use crate::support::{array, elements, registry};

fn numbers(count: usize) -> Array {
    array(&(0..count).map(|n| n as f32).collect::<Vec<_>>(), &[count])
}

#[test]
fn arguments_reserve_their_way_and_what_does_not_fit_comes_back_untouched() {
    let registry = registry();
    let budget = Budget::new("test", 40).unwrap();
    let options = CallOptions::new("f").on("fake").device(DEVICES[0]).within(&budget);
    let count = |arrays: &[Array]| Ok(arrays.len());
    assert_eq!(call(&registry, options, vec![numbers(10), numbers(10)], count).unwrap(), 2);
    assert_eq!((budget.status().peak, budget.reserved()), (40, 0), "one after the other");

    let mut ran = false;
    let given = vec![numbers(10), numbers(11), numbers(2)];
    let refused = call(&registry, options, given, |_| {
        ran = true;
        Ok(0_usize)
    })
    .unwrap_err();
    assert!(!ran);
    assert!(matches!(Shortage::of(refused.error()), Some(Shortage::Never { need: 44, .. })));
    // In their order: the first is where the call had brought it, the others where they were.
    let back = refused.into_value();
    let found: Vec<_> = back.iter().map(|one| one.describe().unwrap()).collect();
    assert_eq!((found[0].device, found[0].layout.shape()), (DEVICES[0], &[10][..]));
    assert!(found[1..].iter().all(|one| one.device == Device::CPU));
    assert_eq!([found[1].layout.shape(), found[2].layout.shape()], [[11], [2]]);
    assert_eq!(elements::<f32>(back.into_iter().nth(1).unwrap())[10], 10.0);
}

#[test]
fn results_reserve_their_casts_and_their_rescaling() {
    let registry = registry();
    let fits_exactly = |rule, mode, array: &dyn Fn() -> Array, needed: u64| {
        // It fits exactly, and a byte less is refused before anything is made.
        let exact = Budget::new("exact", needed).unwrap();
        let options = CallOptions::new("f").dtype(mode).rescale(rule);
        call(&registry, options.within(&exact), vec![], |_| Ok(array())).unwrap();
        assert_eq!((exact.status().peak, exact.reserved()), (needed, 0));
        let short = Budget::new("short", needed - 1).unwrap();
        let refused = call(&registry, options.within(&short), vec![], |_| Ok(array())).unwrap_err();
        assert!(Shortage::of(refused.error()).is_some(), "{refused}");
    };
    let (min_max, range) = (Rescale::MinMax, Rescale::Range { low: 0.0, high: 10.0 });
    let there =
        || registry.convert(numbers(10), "fake", Options::default().on(DEVICES[0])).unwrap();
    fits_exactly(Rescale::Refuse, DtypeConversion::Float64, &|| numbers(10), 80);
    // Floats are read in place, integers as f64.
    fits_exactly(min_max, DtypeConversion::Uint8, &|| numbers(10), 10);
    fits_exactly(range, DtypeConversion::Uint8, &|| numbers(10), 10);
    fits_exactly(range, DtypeConversion::Uint16, &|| array(&[1_i32; 10], &[10]), 80 + 20);
    fits_exactly(range, DtypeConversion::Uint16, &|| array(&[1.0_f64; 10], &[10]), 20);
    // Places from 0 to 1 in f64, and their cast.
    fits_exactly(range, DtypeConversion::Float32, &|| array(&[1_u8; 10], &[10]), 80 + 80 + 40);
    // What lies on a device is downloaded first, and has gone when the result goes back up.
    fits_exactly(min_max, DtypeConversion::Uint8, &there, 40 + 10);
    let wide = || array(&[1e300_f64; 10], &[10]);
    fits_exactly(Rescale::Saturate, DtypeConversion::Float32, &wide, 40);
    let wide = || registry.convert(wide(), "fake", Options::default().on(DEVICES[0])).unwrap();
    fits_exactly(Rescale::Saturate, DtypeConversion::Float32, &wide, 80 + 40);
    // Where none is too large, the device casts, and nothing comes to the host.
    let narrow = || {
        let numbers = array(&[0.5_f64; 10], &[10]);
        registry.convert(numbers, "fake", Options::default().on(DEVICES[0])).unwrap()
    };
    let nothing = Budget::of_device("the host", 1, Device::CPU).unwrap();
    let options = CallOptions::new("f").dtype(DtypeConversion::Float32);
    let options = options.rescale(Rescale::Saturate).within(&nothing);
    let made = call(&registry, options, vec![], |_| Ok(narrow())).unwrap();
    let found = made.describe().unwrap();
    assert_eq!((found.data_type, found.device), (DataType::F32, DEVICES[0]));
    let refused = call(&registry, options, vec![], |_| Ok(wide())).unwrap_err();
    assert!(Shortage::of(refused.error()).is_some(), "{refused}");
}

#[test]
fn slices_their_stack_and_what_is_made_of_it_reserve() {
    let registry = registry();
    let budget = Budget::new("test", 1 << 20).unwrap();
    let options = CallOptions::new("f").on("dlpack").dtype(DtypeConversion::Float64);
    let whole = |count: usize| vec![array(&vec![1.0_f32; 4 * count], &[count, 4])];
    let row = |_: &[Array]| Ok(array(&[1.0_f32; 4], &[4]));
    let made = call_by_slice(&registry, options.within(&budget), whole(10), row).unwrap();
    assert_eq!(made.describe().unwrap().data_type, DataType::F64);
    // The stack has been handed over when it is cast.
    assert_eq!((budget.status().peak, budget.reserved()), (320, 0));
    let short = Budget::new("short", 159).unwrap();
    let refused = call_by_slice(&registry, options.within(&short), whole(10), row).unwrap_err();
    assert!(matches!(Shortage::of(refused.error()), Some(Shortage::Never { need: 160, .. })));
    let back = refused.into_value().remove(0);
    assert_eq!(back.describe().unwrap().layout.shape(), [10, 4]);
}

#[test]
fn calls_take_their_memory_from_a_pool_and_reserve_what_it_does_not() {
    let registry = registry();
    let budget = Budget::new("test", 1 << 20).unwrap();
    let pool = Pool::new();
    let options = CallOptions::new("f").dtype(DtypeConversion::Float64).pool(&pool);
    let made = || call(&registry, options, vec![], |_| Ok(numbers(10))).unwrap();
    let first = made();
    assert_eq!((pool.stats().misses, pool.stats().buffers_in_use), (1, 1));
    drop(first);
    assert_eq!(elements::<f64>(made())[9], 9.0);
    assert_eq!((pool.stats().misses, pool.stats().hits), (1, 1), "the same memory again");
    // What comes from a device, too.
    let there = || registry.convert(numbers(10), "fake", Options::default().on(DEVICES[0]));
    let options = CallOptions::new("f").on("ndarray").device(Device::CPU).pool(&pool);
    let back = call(&registry, options, vec![there().unwrap()], |arrays| {
        assert_eq!(arrays[0].describe()?.device, Device::CPU);
        Ok(pool.stats().buffers_in_use)
    });
    assert_eq!(back.unwrap(), 1);

    // What a pool with a budget reserves, the call does not reserve once more.
    let pooled = PoolOptions::new().size_classes(Exact).within(&budget, "pool").build();
    let narrow = Budget::new("narrow", 1).unwrap();
    let options = CallOptions::new("f").dtype(DtypeConversion::Float64);
    let options = options.within(&narrow).pool(&pooled);
    let made = call(&registry, options, vec![], |_| Ok(numbers(10))).unwrap();
    assert_eq!((budget.reserved(), narrow.status().peak), (80, 0));
    drop(made);

    // So it is where the result is rescaled; what it is read as goes back at once.
    let options = options.dtype(DtypeConversion::Uint8).rescale(Rescale::MinMax);
    let made = call(&registry, options, vec![], |_| Ok(numbers(10))).unwrap();
    assert_eq!((budget.reserved(), narrow.status().peak), (80 + 10, 0), "80 are kept");
    assert_eq!(elements::<u8>(made)[9], 255);
    let (pool, range) = (Pool::new(), Rescale::Range { low: 0.0, high: 9.0 });
    let options = CallOptions::new("f").dtype(DtypeConversion::Float32).rescale(range).pool(&pool);
    let made = || call(&registry, options, vec![], |_| Ok(array(&[9_u8; 10], &[10]))).unwrap();
    let first = made();
    assert_eq!((pool.stats().allocations, pool.stats().buffers_in_use), (3, 1));
    assert_eq!(elements::<f32>(first), [1.0; 10]);
    // What owns its vectors takes none of a pool: it would be copied.
    let vector: ArrayD<f32> = Call::new(&registry, options).result(made()).unwrap();
    assert_eq!((vector.len(), pool.stats().buffers_in_use), (10, 0));
    let before = pool.stats().allocations;
    let options = options.dtype(DtypeConversion::Uint8);
    let bytes: ArrayD<u8> = Call::new(&registry, options).result(numbers(10)).unwrap();
    assert_eq!((bytes[9], pool.stats().allocations), (255, before));

    // The stack of slices is the pool's, and what is made of it.
    let (pool, whole) = (Pool::new(), vec![array(&[1.0_f32; 40], &[10, 4])]);
    let options = CallOptions::new("f").on("dlpack").dtype(DtypeConversion::Float64).pool(&pool);
    let row = |_: &[Array]| Ok(array(&[1.0_f32; 4], &[4]));
    let made = call_by_slice(&registry, options, whole, row).unwrap();
    assert_eq!((pool.stats().misses, pool.stats().buffers_in_use), (2, 1));
    assert_eq!(elements::<f64>(made), [1.0; 40]);
}

#[test]
fn a_call_that_fails_gives_its_arrays_back_wherever_it_fails() {
    let registry = registry();
    let shapes = |arrays: Vec<Array>| -> Vec<Vec<usize>> {
        arrays.iter().map(|one| one.describe().unwrap().layout.shape().to_vec()).collect()
    };
    let given = || vec![numbers(3), numbers(2)];
    let run = |options: CallOptions<'_>, function: &dyn Fn(&[Array]) -> Result<Vec<Array>>| {
        let refused = call(&registry, options, given(), function).unwrap_err();
        let (arrays, error) = refused.into_parts();
        (shapes(arrays), error.to_string())
    };
    let fails = |_: &[Array]| -> Result<Vec<Array>> {
        Err(Error::Unsupported { what: "that".to_owned(), remedy: "none".to_owned() })
    };
    let f = CallOptions::new("f");
    for (options, function, told) in [
        (f.input("ndarray"), &fails as &dyn Fn(&[Array]) -> Result<Vec<Array>>, "`array 0` of `f`"),
        (f.on("nowhere"), &fails, "no backend \"nowhere\""),
        (f, &fails, "that is not supported"),
        (f.output("nowhere"), &|_: &[Array]| Ok(vec![numbers(1)]), "no backend \"nowhere\""),
    ] {
        let (back, error) = run(options, function);
        assert_eq!(back, [[3], [2]], "{told}");
        assert!(error.contains(told), "{error}");
    }
    // As an error alone, it is what it was.
    let error = (|| -> Result<()> {
        call(&registry, f, given(), fails)?;
        Ok(())
    })();
    assert!(error.unwrap_err().to_string().contains("that is not supported"));

    let by_slice = call_by_slice(&registry, f.on("nowhere"), given(), |_| Ok(numbers(1)));
    let (back, error) = by_slice.unwrap_err().into_parts();
    assert!(error.to_string().contains("nowhere"));
    assert_eq!(shapes(back), [[3], [2]]);
}
