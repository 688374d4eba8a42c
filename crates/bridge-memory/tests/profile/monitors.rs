//! Monitors: samples on a thread of their own, in bounded memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_memory::ManualClock;
use bridge_memory::budget::Budget;
use bridge_memory::profile::{
    Monitor, MonitorBuilder, Reading, Recording, SampleError, Seen, SeriesKind,
};
use proptest::prelude::*;

/// No monitor's own thread samples within it: samples are those that a test takes, one at the start,
/// and one at the end.
const NEVER: Duration = Duration::from_secs(1 << 40);

/// A monitor that samples these values of one series.
fn sampling(values: Vec<u64>) -> MonitorBuilder {
    let mut values = values.into_iter();
    Monitor::builder(NEVER).sampler(move || match values.next() {
        Some(value) => Ok(vec![("memory".to_owned(), value)]),
        None => Err("nothing more".into()),
    })
}

/// What a monitor with room for so many points records of these values.
fn recorded(values: &[u64], room: usize) -> Recording {
    let clock = Arc::new(ManualClock::new());
    let monitor = sampling(values.to_vec()).clock(clock.clone()).keep(room).start().unwrap();
    // The first is taken at the start, the last at the end.
    for _ in 1..values.len() - 1 {
        clock.advance(Duration::from_secs(1));
        monitor.sample();
    }
    clock.advance(Duration::from_secs(1));
    monitor.finish()
}

#[test]
fn a_summary_has_the_most_the_mean_and_the_last() {
    let recording = recorded(&[10, 40, 20, 30], 100);
    let summary = recording.series("memory").unwrap().summary;
    assert_eq!((summary.min, summary.max, summary.last, summary.count), (10, 40, 30, 4));
    assert!((summary.mean - 25.0).abs() < 1e-12);
    assert_eq!((recording.samples, recording.missing), (4, 0));
    let times: Vec<_> = recording.points.iter().map(|point| point.seconds).collect();
    assert_eq!(times, [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_long_recording_is_thinned_out_and_keeps_its_peaks() {
    let mut values: Vec<u64> = (0..1000).collect();
    values[501] = 1_000_000;
    let recording = recorded(&values, 10);
    assert!(recording.points.len() <= 10, "{}", recording.points.len());
    assert!(recording.points.len() > 5);
    let samples: Vec<_> = recording.points.iter().map(|point| point.samples).collect();
    assert_eq!(samples.iter().sum::<u64>(), 1000);
    assert!(samples[..samples.len() - 1].iter().all(|&count| count == 128), "{samples:?}");
    let seen = |point: usize| recording.points[point].values[0].unwrap();
    assert_eq!(seen(0), Seen { min: 0, max: 127, last: 127 });
    assert_eq!(seen(3), Seen { min: 384, max: 1_000_000, last: 511 });
    assert_eq!((recording.points[3].seconds, recording.points[3].until), (384.0, 511.0));
    assert_eq!(recording.series("memory").unwrap().summary.max, 1_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 })
    })]

    #[test]
    fn thinning_loses_no_sample_and_no_extreme(
        values in prop::collection::vec(0_u64..1000, 2..300),
        room in 2_usize..20,
    ) {
        let recording = recorded(&values, room);
        let points = &recording.points;
        prop_assert!(points.len() <= room);
        prop_assert_eq!(points.iter().map(|point| point.samples).sum::<u64>(), values.len() as u64);
        let mut rest = &values[..];
        for point in points {
            let (mine, later) = rest.split_at(point.samples as usize);
            let min = mine.iter().copied().min().unwrap();
            let max = mine.iter().copied().max().unwrap();
            let last = *mine.last().unwrap();
            prop_assert_eq!(point.values[0], Some(Seen { min, max, last }));
            prop_assert!(point.seconds <= point.until);
            rest = later;
        }
    }
}

#[test]
fn a_sampler_that_fails_or_panics_leaves_a_gap_and_the_monitor_goes_on() {
    let mut sample = 0;
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        sample += 1;
        match sample {
            2 => Err("the driver is gone".into()),
            3 => panic!("a broken sampler"),
            _ => Ok(vec![("memory".to_owned(), sample)]),
        }
    };
    let monitor = Monitor::builder(NEVER).sampler(sampler).start().unwrap();
    monitor.sample();
    let so_far = monitor.recording();
    assert_eq!(so_far.last_failure.as_deref(), Some("the driver is gone"));
    monitor.sample();
    let recording = monitor.finish();
    assert_eq!((recording.samples, recording.missing), (4, 2));
    assert_eq!(recording.last_failure.as_deref(), Some("the sampler panicked"));
    assert_eq!(recording.series("memory").unwrap().summary.last, 4);
    assert!(recording.points[1].values.is_empty() && recording.points[2].values.is_empty());
}

#[test]
fn marks_stand_in_time_and_are_bounded() {
    let clock = Arc::new(ManualClock::new());
    let monitor = sampling(vec![1, 2]).clock(clock.clone()).keep(2).start().unwrap();
    clock.advance(Duration::from_millis(1500));
    monitor.mark("out of memory");
    // A clock that goes back: no time has passed.
    clock.set(Duration::ZERO);
    let marker = monitor.marker();
    std::thread::spawn(move || marker.mark("trimmed")).join().unwrap();
    monitor.mark("one too many");
    let recording = monitor.finish();
    let marks: Vec<_> =
        recording.marks.iter().map(|mark| (mark.seconds, mark.what.as_str())).collect();
    assert_eq!(marks, [(1.5, "out of memory"), (1.5, "trimmed")]);
    assert_eq!(recording.marks_dropped, 1);
    assert_eq!(recording.points[1].seconds, 1.5);
}

#[test]
fn a_sampler_that_invents_names_fills_no_memory() {
    let mut sample = 0;
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        sample += 1;
        Ok(vec![(format!("series {sample}"), sample), ("again".to_owned(), 7)])
    };
    let monitor = Monitor::builder(NEVER).sampler(sampler).start().unwrap();
    for _ in 0..200 {
        monitor.sample();
    }
    let recording = monitor.finish();
    assert_eq!(recording.series.len(), Recording::MOST_SERIES);
    assert_eq!(recording.series("again").unwrap().summary.count, 202);
}

#[test]
fn a_recording_becomes_csv_that_a_table_reader_understands() {
    let mut sample = 0;
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        sample += 1;
        match sample {
            1 => Ok(vec![("a \"quoted\" name".to_owned(), 5)]),
            2 => Err("gone".into()),
            _ => Ok(vec![("second\nline".to_owned(), 6)]),
        }
    };
    let clock = Arc::new(ManualClock::new());
    let monitor = Monitor::builder(NEVER).sampler(sampler).clock(clock.clone()).start().unwrap();
    clock.advance(Duration::from_millis(250));
    monitor.mark("first, one");
    monitor.mark("then another");
    monitor.sample();
    let mut csv = Vec::new();
    monitor.finish().write_csv(&mut csv).unwrap();
    assert_eq!(
        String::from_utf8(csv).unwrap(),
        "seconds,\"a \"\"quoted\"\" name\",\"second\nline\",event\r\n\
         0,5,,\r\n\
         0.25,,,\"first, one; then another\"\r\n\
         0.25,,6,\r\n"
    );
}

#[test]
fn marks_stand_in_the_row_that_their_time_belongs_to() {
    let clock = Arc::new(ManualClock::new());
    let monitor = sampling((1..100).collect()).clock(clock.clone()).keep(2).start().unwrap();
    for step in 1..8 {
        clock.advance(Duration::from_secs(1));
        monitor.sample();
        if step == 2 {
            monitor.mark("in the first half");
        }
    }
    clock.advance(Duration::from_secs(1));
    monitor.mark("after the last sample");
    let mut csv = Vec::new();
    monitor.recording().write_csv(&mut csv).unwrap();
    assert_eq!(
        String::from_utf8(csv).unwrap(),
        "seconds,memory,event\r\n0,4,in the first half\r\n4,8,after the last sample\r\n"
    );
}

#[test]
fn a_recording_becomes_json() {
    let monitor = sampling(vec![1, 2]).start().unwrap();
    monitor.mark("trimmed");
    let json = serde_json::to_value(monitor.finish()).unwrap();
    assert_eq!(json["series"][0]["label"], "memory");
    assert_eq!(json["series"][0]["summary"]["max"], 2);
    assert_eq!(json["points"][1]["values"][0]["last"], 2);
    assert_eq!(json["marks"][0]["what"], "trimmed");
}

#[test]
fn a_watched_budget_is_two_series_over_time() {
    let budget = Budget::new("images", 1000).unwrap();
    let clock = Arc::new(ManualClock::new());
    // The second sample fails: the budget is seen all the same.
    let mut sample = 0;
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        sample += 1;
        if sample == 2 { Err("no driver".into()) } else { Ok(vec![("memory".to_owned(), sample)]) }
    };
    let monitor = Monitor::builder(NEVER).sampler(sampler).clock(clock.clone()).watch(&budget);
    let monitor = monitor.watch(&budget.clone()).start().unwrap();
    let room = budget.reserve(300).unwrap();
    clock.advance(Duration::from_secs(1));
    monitor.sample();
    budget.set_capacity(500).unwrap();
    drop(room);
    clock.advance(Duration::from_secs(1));
    let recording = monitor.finish();

    let told: Vec<_> = recording.series.iter().map(|one| (&*one.label, one.kind)).collect();
    let expected = [
        ("memory", SeriesKind::Memory),
        ("reserved in images", SeriesKind::Reserved),
        ("capacity of images", SeriesKind::Capacity),
    ];
    assert_eq!(told, expected, "watched twice, there once");
    let reserved = recording.series("reserved in images").unwrap().summary;
    assert_eq!((reserved.max, reserved.last, reserved.count), (300, 0, 3));
    let capacity = recording.series("capacity of images").unwrap().summary;
    assert_eq!((capacity.max, capacity.last), (1000, 500));
    assert_eq!((recording.missing, recording.last_failure.as_deref()), (1, Some("no driver")));

    let mut csv = Vec::new();
    recording.write_csv(&mut csv).unwrap();
    assert_eq!(
        String::from_utf8(csv).unwrap(),
        "seconds,memory,reserved in images,capacity of images,event\r\n\
         0,1,0,1000,\r\n\
         1,,300,1000,\r\n\
         2,3,0,500,\r\n"
    );
    let json = serde_json::to_value(&recording).unwrap();
    assert_eq!(json["series"][1]["kind"], "reserved");
    assert_eq!(json["series"][2]["kind"], "capacity");
    assert_eq!(json["points"][1]["values"][1]["last"], 300);
}

#[test]
fn budgets_of_one_name_are_told_apart_and_one_without_a_limit_has_no_capacity() {
    let budgets = [10, 20].map(|capacity| Budget::new("twin", capacity).unwrap());
    let _room = budgets[1].reserve(7).unwrap();
    let monitor = sampling(vec![1, 2]).watch(&budgets[0]).watch(&budgets[1]);
    let recording = monitor.watch(&Budget::process()).start().unwrap().finish();
    let last = |label: &str| recording.series(label).map(|one| one.summary.last);
    assert_eq!((last("reserved in twin"), last("capacity of twin")), (Some(0), Some(10)));
    assert_eq!((last("reserved in twin (2)"), last("capacity of twin (2)")), (Some(7), Some(20)));
    assert!(last("reserved in the process").is_some());
    assert_eq!(last("capacity of the process"), None);
}

#[test]
fn a_monitor_samples_by_itself_and_stops_when_it_is_dropped() {
    let (sampled, samples) = mpsc::channel();
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        sampled.send(())?;
        Ok(Vec::new())
    };
    let monitor = Monitor::builder(Duration::from_millis(1)).sampler(sampler).start().unwrap();
    for _ in 0..4 {
        samples.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    drop(monitor);
    // The thread has ended, and with it its end of the channel.
    while samples.try_recv().is_ok() {}
    assert_eq!(samples.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_sample_that_never_ends_does_not_hold_up_the_program() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let count = AtomicU64::new(0);
    let sampler = move || -> Result<Vec<Reading>, SampleError> {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            let _ = held.lock().unwrap().recv();
        }
        Ok(vec![("memory".to_owned(), 1)])
    };
    let monitor = Monitor::builder(NEVER).sampler(sampler).start().unwrap();
    let recording = monitor.finish();
    assert_eq!(recording.samples, 1);
    drop(release);
}

#[test]
fn nonsense_is_refused() {
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-10, 1e30] {
        let Err(error) = Monitor::every(seconds) else { panic!("{seconds} was taken") };
        assert!(error.to_string().contains("above zero"), "{error}");
    }
    let error = Monitor::start(Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("interval"), "{error}");
    let error = sampling(vec![]).keep(1).start().unwrap_err();
    assert!(error.to_string().contains("2 or more"), "{error}");
    assert!(Monitor::every(0.5).is_ok());
}
