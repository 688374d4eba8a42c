//! Observers see the conversions of their thread, each once, and only while they watch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_convert::{Convert, ConvertByName, Counters, Observer, Record, Report, observe};
use bridge_core::{CopyPolicy, DataType, Options};

use crate::support::{PlainArray, Takes, array, numbers, registry};

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Seen {
    fn converted(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.report.to_string());
    }
}

fn convert(options: Options) -> Report {
    registry().convert_reported(array(&[2]), "takes", options).unwrap().1
}

#[test]
fn a_conversion_is_told_once_and_only_while_somebody_watches() {
    const SHARED: &str = "dlpack to takes: float32 [2], share (zero-copy)";
    let (first, second) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
    let share = || drop(registry().convert(array(&[2]), "takes", Options::default()).unwrap());
    share();
    let watching = observe(first.clone());
    share();
    assert_eq!(first.take(), [SHARED]);
    {
        let _also = observe(second.clone());
        let _: PlainArray<Takes> = numbers(&[2]).convert().unwrap();
        std::thread::spawn(share).join().unwrap();
    }
    assert_eq!((first.take(), second.take()), (vec![SHARED.to_owned()], vec![SHARED.to_owned()]));

    // A refusal is no conversion, nor is an array that stays as it is.
    let never = Options::default().copy(CopyPolicy::Never).cast(DataType::F64);
    assert!(registry().convert(array(&[2]), "takes", never).is_err());
    let stayed = PlainArray::<Takes>::of(numbers(&[2])).convert::<PlainArray<Takes>>();
    assert!(stayed.is_ok());
    assert!(first.take().is_empty());
    drop(watching);
    share();
    assert!(first.take().is_empty() && second.take().is_empty());
}

#[test]
fn a_thread_may_convert_until_its_end_when_its_observers_are_gone() {
    static CONVERTED: AtomicBool = AtomicBool::new(false);

    struct ConvertsLast;

    impl Drop for ConvertsLast {
        fn drop(&mut self) {
            let converted = registry().convert(array(&[2]), "takes", Options::default());
            CONVERTED.store(converted.is_ok(), Ordering::Relaxed);
        }
    }

    thread_local! { static LAST: ConvertsLast = const { ConvertsLast } }

    let thread = std::thread::spawn(|| {
        // What a thread makes first it drops last.
        LAST.with(|_| ());
        convert(Options::default());
    });
    thread.join().unwrap();
    assert!(CONVERTED.load(Ordering::Relaxed));
}

#[test]
fn counters_add_up_by_source_target_and_way() {
    let counters = Arc::new(Counters::default());
    let watching = observe(counters.clone());
    let always = Options::default().copy(CopyPolicy::Always);
    let reports = [Options::default(), always, always].map(convert);
    drop(watching);
    let counted: Vec<_> = counters
        .rows()
        .into_iter()
        .map(|row| (row.source, row.target, row.way, row.count.conversions, row.count.bytes_copied))
        .collect();
    let row =
        |way: &str, conversions, bytes| ("dlpack", "takes", way.to_owned(), conversions, bytes);
    assert_eq!(counted, [row("copy+share", 2, 16), row("share", 1, 0)]);

    // With known times.
    let told = Counters::default();
    for (report, millis) in reports.iter().zip([1, 2, 4]) {
        told.converted(&Record { report, elapsed: Duration::from_millis(millis) });
    }
    let sum = Counters::default();
    assert_eq!(sum.to_string(), "");
    sum.merge(&told);
    assert_eq!(sum.rows(), told.rows());
    sum.merge(&told);
    assert_eq!(
        sum.to_string(),
        "dlpack to takes by copy+share: 4 conversions, 32 bytes copied, 12ms\n\
         dlpack to takes by share: 2 conversions, 0 bytes copied, 2ms\n"
    );
}
