//! A call made again and again, each time with another failure.

use std::fmt::Debug;

use bridge_core::Error;

/// What became of the calls of [`fail_each`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// How many ended with an error.
    pub errors: u64,
    /// How many succeeded although something had failed in them.
    pub made_up_for: u64,
}

/// Calls made with what `make` gives, with the first allocation failing, the second, and so on, until none
/// fails in a call. `arm` lets the allocation of a number fail, counted from 0; what it returns ends that, and
/// says whether it did, or `false` where nobody can tell: then the first call that succeeds is the last.
///
/// After each, the error must be out of memory, what was given must be `intact`, the same call must succeed, and
/// what is `held` must be what was before.
///
/// # Panics
///
/// Where one of these is not so.
#[track_caller]
pub fn fail_each<'a, S, R, H: PartialEq + Debug>(
    make: impl Fn() -> S,
    call: impl Fn(S) -> Result<R, (S, Error)>,
    intact: impl Fn(&S),
    arm: impl Fn(u64) -> Box<dyn FnOnce() -> bool + 'a>,
    held: impl Fn() -> H,
) -> Failures {
    let succeeds = |source| match call(source) {
        Ok(made) => drop(made),
        Err((_, error)) => panic!("nothing fails any more, but: {error}"),
    };
    // What is made once, at the first call, is no leak.
    succeeds(make());
    let mut failures = Failures { errors: 0, made_up_for: 0 };
    for nth in 0.. {
        let before = held();
        let source = make();
        let disarm = arm(nth);
        let result = call(source);
        let failed = disarm();
        match result {
            Ok(made) => {
                drop(made);
                assert_eq!(held(), before, "after {nth}, which succeeded");
                if !failed {
                    break;
                }
                failures.made_up_for += 1;
            }
            Err((source, error)) => {
                assert!(error.out_of_memory().is_some(), "{nth}: {error}");
                intact(&source);
                succeeds(source);
                assert_eq!(held(), before, "after {nth}, which failed");
                failures.errors += 1;
            }
        }
    }
    failures
}
