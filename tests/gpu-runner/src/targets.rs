//! What the benchmarks have to show, and whether they did.

use serde::Serialize;

use crate::report::Measured;

/// A target, as a report tells it.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) target: String,
    pub(crate) found: String,
    /// `None` where it was not measured.
    pub(crate) met: Option<bool>,
}

/// How a job is judged; its names are those of `benches/cuda`.
enum Rule {
    /// Ours is at least so many times as fast as this peer.
    Faster(&'static str, f64),
    /// Ours takes at most so many nanoseconds; the peer is shown beside it.
    AtMost(f64, &'static str),
    /// Ours takes at most so many nanoseconds for each of two hand-overs more than this peer, and the
    /// time of recording an event.
    HandOver(f64, &'static str),
}

const EVENT: &str = "recording an event";
const COPY: &str = "device to device";

const TARGETS: &[(&str, Rule)] = &[
    ("a tensor of torch to a CudaArray and back", Rule::HandOver(1000.0, "torch alone")),
    ("allocate 1 MiB and free it", Rule::AtMost(2000.0, "cudaMalloc")),
    ("upload 64 MiB, pinned", Rule::Faster("driver", 0.95)),
    ("download 64 MiB, pinned", Rule::Faster("driver", 0.95)),
    ("upload 64 MiB, pageable", Rule::Faster("torch", 2.0)),
    ("upload 256 MiB, pageable", Rule::Faster("torch", 2.0)),
    ("upload 64 MiB, transposed", Rule::Faster("make contiguous, then the driver", 2.0)),
    ("copy 256 MiB on the device, transposed", Rule::Faster(COPY, 0.8)),
    ("copy 128 MiB float16 on the device, transposed", Rule::Faster(COPY, 0.8)),
    ("copy 256 MiB on the device, rows with gaps", Rule::Faster(COPY, 0.8)),
    ("cast 64 Mi float32 to float16", Rule::Faster(COPY, 0.8)),
    ("cast 64 Mi float32 to bfloat16", Rule::Faster(COPY, 0.8)),
    ("cast 64 Mi float16 to float32", Rule::Faster(COPY, 0.8)),
    ("cast 64 Mi float32 to bfloat16, transposed", Rule::Faster(COPY, 0.8)),
];

/// The verdict on each target.
pub(crate) fn verdicts(measured: &[Measured]) -> Vec<Verdict> {
    TARGETS.iter().map(|(job, rule)| verdict(job, rule, measured)).collect()
}

fn verdict(job: &str, rule: &Rule, measured: &[Measured]) -> Verdict {
    // criterion makes names of folders of them, where some characters become others.
    let plain = |text: &str| text.replace(|c: char| !c.is_alphanumeric(), "");
    let wanted = plain(&format!("cuda: {job}"));
    let of = |by: &str| {
        let is_it = |one: &&Measured| plain(&one.job) == wanted && plain(&one.by) == plain(by);
        measured.iter().find(is_it).map(|one| one.nanoseconds)
    };
    let (target, found) = match *rule {
        Rule::Faster(peer, times) => (
            format!("at least {times} times as fast as \"{peer}\""),
            of("ours").zip(of(peer)).map(|(ours, peer)| {
                (format!("{:.2} times as fast", peer / ours), peer / ours >= times)
            }),
        ),
        Rule::AtMost(most, peer) => (
            format!("at most {:.0} µs", most / 1000.0),
            of("ours").map(|ours| {
                let peer = of(peer).map(|time| format!(", {peer} {:.2} µs", time / 1000.0));
                let peer = peer.unwrap_or_default();
                (format!("{:.2} µs{peer}", ours / 1000.0), ours <= most)
            }),
        ),
        Rule::HandOver(most, peer) => (
            format!("each way at most {:.0} µs more than \"{peer}\" and an event", most / 1000.0),
            of("ours").zip(of(peer)).zip(of(EVENT)).map(|((ours, peer), event)| {
                let way = (ours - peer) / 2.0;
                (format!("{way:.0} ns more, an event is {event:.0} ns"), way <= most + event)
            }),
        ),
    };
    let (found, met) = match found {
        Some((found, met)) => (found, Some(met)),
        None => ("not measured".to_owned(), None),
    };
    Verdict { target: format!("{job}: {target}"), found, met }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(job: &str, by: &str, nanoseconds: f64) -> Measured {
        Measured { job: format!("cuda: {job}"), by: by.to_owned(), nanoseconds, times_ours: 0.0 }
    }

    #[test]
    fn each_rule_is_met_or_missed_at_its_bound() {
        let hand_over = "a tensor of torch to a CudaArray and back";
        let judged = |measured: &[Measured], job: &str| {
            let verdicts = verdicts(measured);
            let verdict = verdicts.iter().find(|one| one.target.starts_with(&format!("{job}:")));
            verdict.map(|one| (one.met, one.found.clone())).unwrap()
        };
        let upload = "upload 64 MiB, pinned";
        let times = |ours| [one(upload, "ours", ours), one(upload, "driver", 95.0)];
        assert_eq!(judged(&times(100.0), upload), (Some(true), "0.95 times as fast".to_owned()));
        assert_eq!(judged(&times(101.0), upload).0, Some(false));
        assert_eq!(judged(&times(100.0), "upload 64 MiB, pageable").0, None);

        let allocate = "allocate 1 MiB and free it";
        let times = |ours| [one(allocate, "ours", ours), one(allocate, "cudaMalloc", 9e4)];
        assert_eq!(
            judged(&times(2000.0), allocate),
            (Some(true), "2.00 µs, cudaMalloc 90.00 µs".to_owned())
        );
        assert_eq!(judged(&times(2001.0), allocate).0, Some(false));

        let times = |ours| {
            [(("ours"), ours), ("torch alone", 400.0), (EVENT, 500.0)]
                .map(|(by, time)| one(hand_over, by, time))
        };
        assert_eq!(judged(&times(3400.0), hand_over).0, Some(true));
        assert_eq!(judged(&times(3402.0), hand_over).0, Some(false));
    }

    /// Names are written in two places: where the benchmark's change, this must.
    #[test]
    fn every_job_and_peer_is_in_the_benchmark() {
        let benchmark = include_str!("../../../benches/cuda/benches/cuda.rs");
        for (job, rule) in TARGETS {
            let (Rule::Faster(peer, _) | Rule::AtMost(_, peer) | Rule::HandOver(_, peer)) = rule;
            for name in [*job, peer] {
                let cast =
                    name.starts_with("cast 64 Mi") && benchmark.contains("\"cast 64 Mi {from}");
                assert!(cast || benchmark.contains(&format!("\"{name}\"")), "{name}");
            }
        }
    }
}
