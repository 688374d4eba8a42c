//! The kernels against what they stand for.

use std::sync::atomic::{AtomicUsize, Ordering};

use bridge_core::{Element, Error, Interrupt};

use super::*;

fn tensor<T: Element>(values: Vec<T>) -> ManagedTensor {
    let shape = [values.len()];
    ManagedTensor::from_vec(values, &shape).unwrap()
}

fn made<T: Element>(rescaled: Result<Rescaled>) -> Vec<T> {
    match rescaled.unwrap() {
        Rescaled::Made(tensor) => tensor.as_slice::<T>().unwrap().to_vec(),
        other => panic!("{other:?}"),
    }
}

/// More elements than a block and than one thread takes, with the ends anywhere.
#[test]
fn the_ends_are_found_wherever_they_are() {
    let count = if cfg!(miri) { 70 } else { 3 * BLOCK + 7 };
    for (least, most) in [(0, count - 1), (count - 1, 0), (31, 32), (count / 2, count - 2)] {
        let mut values = vec![0.25_f32; count];
        (values[least], values[most]) = (-1.0, 1.0);
        let stretched = made::<u8>(stretch(&tensor(values), DataType::U8, &Options::default()));
        assert_eq!((stretched[least], stretched[most]), (0, 255));
        let between = stretched.iter().filter(|&&one| one == 159).count();
        assert_eq!(between, count - 2, "{least} {most}");
    }
}

#[test]
fn many_elements_are_rescaled_as_few_are() {
    let count = if cfg!(miri) { 300 } else { (3 << 20) + 5 };
    let values: Vec<f64> = (0..count).map(|at| ((at * 7919) % 1021) as f64).collect();
    let few: Vec<u16> = made(stretch(
        &tensor(values[..1021.min(count)].to_vec()),
        DataType::U16,
        &Options::default(),
    ));
    let many: Vec<u16> = made(stretch(&tensor(values.clone()), DataType::U16, &Options::default()));
    assert!(many.iter().enumerate().all(|(at, &one)| one == few[at % few.len()]));
    let over = |values: &[f64]| {
        made::<i32>(spread(
            &tensor(values.to_vec()),
            DataType::I32,
            (0.0, 1020.0),
            &Options::default(),
        ))
    };
    let (few, many) = (over(&values[..1021.min(count)]), over(&values));
    assert!(many.iter().enumerate().all(|(at, &one)| one == few[at % few.len()]));
}

#[test]
fn the_first_value_that_has_no_place_is_told_wherever_it_is() {
    let count = if cfg!(miri) { 100 } else { (1 << 20) + 3 };
    let told = |rescaled: Result<Rescaled>| match rescaled.unwrap() {
        Rescaled::Undefined { value, place } => (value.to_bits(), place),
        other => panic!("{other:?}"),
    };
    for place in [0, 1, count / 2, count - 2] {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut values = vec![1.0_f64; count];
            (values[count - 1], values[place]) = (f64::NAN, value);
            let values = tensor(values);
            let undefined = (value.to_bits(), place);
            assert_eq!(told(stretch(&values, DataType::I16, &Options::default())), undefined);
            // A range has a place for infinities.
            let missing = if value.is_nan() { place } else { count - 1 };
            let undefined = (f64::NAN.to_bits(), missing);
            assert_eq!(
                told(spread(&values, DataType::I16, (0.0, 1.0), &Options::default())),
                undefined
            );
        }
    }
}

/// The memory of one is half of the other's, and what is made is the same.
#[test]
fn single_precision_is_spread_as_the_double_of_the_same_values() {
    let count = if cfg!(miri) { 100 } else { 2 * BLOCK + 9 };
    let singles: Vec<f32> = (0..count).map(|at| at as f32 * 0.37 - 300.0).collect();
    let doubles = tensor(singles.iter().map(|&one| f64::from(one)).collect());
    let mut singles = tensor(singles);
    for to in [DataType::U8, DataType::I32, DataType::U64, DataType::F32, DataType::F64] {
        let bytes = |tensor: &ManagedTensor| {
            let Rescaled::Made(made) =
                spread(tensor, to, (-100.0, 800.0), &Options::default()).unwrap()
            else {
                panic!("all are numbers")
            };
            made.require_host().unwrap();
            let bytes = made.layout().compact_bytes(to).unwrap();
            // SAFETY: it is row-major host memory of so many bytes, all written.
            unsafe { std::slice::from_raw_parts(made.first_element(), bytes) }.to_vec()
        };
        assert_eq!(bytes(&singles), bytes(&doubles), "{to:?}");
    }
    singles.as_mut_slice::<f32>().unwrap()[5] = f32::NAN;
    let missing = spread(&singles, DataType::U8, (0.0, 1.0), &Options::default()).unwrap();
    assert!(matches!(missing, Rescaled::Undefined { value, place: 5 } if value.is_nan()));
}

/// Counts how often it is asked, and stops at the last of so many times.
struct Asked {
    times: AtomicUsize,
    last: usize,
}

impl Interrupt for Asked {
    fn check(&self) -> Result<()> {
        match self.times.fetch_add(1, Ordering::Relaxed) + 1 {
            time if time < self.last => Ok(()),
            _ => Err(Error::Unsupported { what: "going on".into(), remedy: "stop".into() }),
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "100 MB are too many")]
fn who_may_interrupt_is_asked_after_every_piece_and_stops_what_comes_after() {
    // Two pieces of 64 MiB and a rest, of what is read and written; bytes, halves and numbers in places.
    let wide = tensor(vec![1.5_f32; (130 << 20) / 4]);
    let narrow = tensor(vec![1_u8; 24 << 20]);
    let asked = |last, work: &dyn Fn(&dyn Interrupt) -> Result<Rescaled>| {
        let asked = Asked { times: AtomicUsize::new(0), last };
        let stopped = work(&asked).is_err();
        (asked.times.into_inner(), stopped)
    };
    let stretched = |asked: &dyn Interrupt| {
        stretch(&wide, DataType::U8, &Options::default().interrupted_by(asked))
    };
    assert_eq!(asked(9, &stretched), (2, false), "the ends; then all are equal");
    assert_eq!(asked(2, &stretched), (2, true));
    let spread_wide = |asked: &dyn Interrupt| {
        spread(&wide, DataType::U8, (0.0, 2.0), &Options::default().interrupted_by(asked))
    };
    assert_eq!(asked(9, &spread_wide), (2, false), "162 MiB");
    assert_eq!(asked(1, &spread_wide), (1, true));
    let spread_narrow = |asked: &dyn Interrupt| {
        spread(&narrow, DataType::U8, (0.0, 2.0), &Options::default().interrupted_by(asked))
    };
    assert_eq!(asked(99, &spread_narrow), (2 + 3, false), "192 MiB of doubles, then read again");
    assert_eq!(asked(2, &spread_narrow), (2, true));
}

#[test]
fn what_has_no_spread_is_level_and_what_are_no_floats_is_refused() {
    for values in [vec![], vec![2.0_f32], vec![0.5; 100]] {
        assert!(matches!(
            stretch(&tensor(values), DataType::U8, &Options::default()),
            Ok(Rescaled::Level)
        ));
    }
    assert!(matches!(
        stretch(&tensor(vec![1_u8]), DataType::U8, &Options::default()),
        Err(Error::NoCast { .. })
    ));
    assert!(matches!(
        stretch(&tensor(vec![1.0_f32]), DataType::F64, &Options::default()),
        Err(Error::NoCast { .. })
    ));
}
