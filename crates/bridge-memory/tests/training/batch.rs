use bridge_core::{Device, Error, Registry, Result, TensorError};
use bridge_memory::recovery::{RecoveryEvent, RecoveryPolicy, on_release};
use bridge_memory::training::{BatchSearch, find_max_batch};

fn too_big() -> Error {
    TensorError::OutOfMemory { device: Device::CPU, requested: 64 }.into()
}

/// The largest of `sizes` up to `threshold`.
fn expected(least: usize, most: usize, threshold: usize) -> Option<usize> {
    (threshold >= least).then(|| threshold.min(most))
}

#[test]
fn every_threshold_is_found_in_few_tries() {
    for (least, most) in [(1_usize, 1_usize), (1, 2), (1, 64), (8, 70), (5, 5), (100, 227)] {
        let sizes = most - least + 1;
        let limit = (sizes + 1).next_power_of_two().ilog2();
        for threshold in least - 1..=most + 1 {
            let mut tried = Vec::new();
            let found = find_max_batch(least..=most, |size| {
                tried.push(size);
                // By turns in both ways.
                match size <= threshold {
                    true => Ok(true),
                    false if size % 2 == 0 => Ok(false),
                    false => Err(too_big()),
                }
            });
            assert_eq!(found.unwrap(), expected(least, most, threshold), "{least} {threshold}");
            assert!(tried.len() as u32 <= limit, "{sizes} sizes, {tried:?}");
            assert!(tried.iter().all(|size| (least..=most).contains(size)), "{tried:?}");
        }
    }
}

#[test]
fn a_search_from_a_guess_finds_the_same_and_tries_no_size_twice() {
    for guess in [1, 2, 7, 32, 63, 64] {
        for threshold in 0..=65 {
            let search = BatchSearch::new(1..=64).unwrap().starting_at(guess).unwrap();
            let mut tried = Vec::new();
            let found = search.find(|size| {
                tried.push(size);
                if size <= threshold { Ok(true) } else { Err(too_big()) }
            });
            assert_eq!(found.unwrap(), expected(1, 64, threshold), "{guess} {threshold}");
            assert_eq!(tried[0], guess);
            assert!(tried.len() <= 2 * 7 + 1, "{tried:?}");
            let largest_above = tried.iter().filter(|&&size| size > threshold).count();
            assert!(largest_above <= 7, "{tried:?}");
            tried.sort_unstable();
            assert!(tried.windows(2).all(|pair| pair[0] < pair[1]), "{tried:?}");
        }
    }
}

#[test]
fn sizes_up_to_the_last_number_do_not_overflow() {
    for threshold in [1, 1000, usize::MAX - 1, usize::MAX] {
        let found = find_max_batch(1..=usize::MAX, |size| Ok(size <= threshold));
        assert_eq!(found.unwrap(), Some(threshold));
        let search = BatchSearch::new(1..=usize::MAX).unwrap().starting_at(3).unwrap();
        let found: Result<_> = search.find(|size| Ok(size <= threshold));
        assert_eq!(found.unwrap(), Some(threshold));
    }
}

#[test]
fn other_errors_end_the_search() {
    let other = || Error::Unsupported { what: "that".to_owned(), remedy: "none".to_owned() };
    let mut tries = 0;
    let error = find_max_batch(1..=64, |_| {
        tries += 1;
        Err(other())
    });
    assert!(matches!(error, Err(Error::Unsupported { .. })));
    assert_eq!(tries, 1);
}

#[test]
fn caches_are_released_after_a_size_that_did_not_fit() {
    let released = std::sync::Mutex::new(0);
    let device = Device::cuda(77);
    let devices = [device];
    let hook = on_release("pool", device, || 1);
    let observer = |event: &RecoveryEvent<'_>| {
        if let RecoveryEvent::Released { released: given } = event {
            *released.lock().unwrap() += given[0].bytes();
        }
    };
    let registry = Registry::new([]);
    let policy = RecoveryPolicy::new().registry(&registry).devices(&devices).observer(&observer);
    let search = BatchSearch::new(1..=3).unwrap().policy(policy);
    let lack = || Error::from(TensorError::OutOfMemory { device, requested: 64 });
    assert_eq!(search.find(|_| Err(lack())).unwrap(), None);
    assert_eq!(*released.lock().unwrap(), 2);
    drop(hook);
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let never = |_| -> Result<bool> { panic!("nothing is tried") };
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for (sizes, told) in [
        (0..=8, "the smallest batch is 0"),
        (9..=8, "the largest batch is 8: it must be 9 or more"),
    ] {
        let error = find_max_batch(sizes, never).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    for guess in [0, 7, 65] {
        let error = BatchSearch::new(8..=64).unwrap().starting_at(guess).unwrap_err().to_string();
        assert!(error.contains("from 8 to 64"), "{error}");
    }
}
