//! Conversions on eight threads at once.

use bridge_convert::ConvertByName;
use bridge_core::{Array, CopyPolicy, ManagedTensor, Options};

use super::cases::{Case, Expected, Wanted, for_each_case, natives_by_name};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::effort::sampled;

const THREADS: [(); 8] = [(); 8];
const ROUNDS: [(); 16] = [(); 16];

pub(super) fn threads_convert_at_once(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for (native, data_type) in natives_by_name(subject) {
        for_each_case(&devices, &[native], &Wanted::PLAIN, |case| {
            if case.data_type == data_type {
                findings.case(&case, || at_once(subject, &case));
            }
        });
    }
}

fn at_once(subject: &Subject, case: &Case) -> Check {
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = sampled(&THREADS, 3)
            .iter()
            .map(|()| scope.spawn(|| repeatedly(subject, case)))
            .collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for result in results {
        result.map_err(|_| "a thread panicked".to_owned())??;
    }
    one_source_many_readers(subject, case)
}

fn repeatedly(subject: &Subject, case: &Case) -> Check {
    for () in sampled(&ROUNDS, 1) {
        let Some(sample) = case.sample(subject)? else {
            return Ok(());
        };
        let expected = Expected::of(&sample);
        let converted =
            subject.registry.convert(Array::new(sample.tensor), subject.name, Options::default());
        expected.check(subject, &exported(converted.map_err(|refused| refused.to_string())?)?)?;
        let times = sample.drops.map_or(1, |drops| drops.drops());
        ensure(times == 1, || format!("the owner was dropped {times} times, not once"))?;
    }
    Ok(())
}

/// Aliases of one tensor are copied on all threads.
fn one_source_many_readers(subject: &Subject, case: &Case) -> Check {
    let Some(sample) = case.sample(subject)? else {
        return Ok(());
    };
    let expected = Expected::of(&sample);
    let whole = sample.tensor.into_shared();
    std::thread::scope(|scope| {
        let copy = || -> Check {
            let alias = Array::new(ManagedTensor::alias(&whole));
            let options = Options::default().copy(CopyPolicy::Always);
            let converted = subject.registry.convert(alias, subject.name, options);
            expected.check(subject, &exported(converted.map_err(|refused| refused.to_string())?)?)
        };
        let threads: Vec<_> = sampled(&THREADS, 3).iter().map(|()| scope.spawn(copy)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })
}
