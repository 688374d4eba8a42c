//! Conversions and functions in a row.

use std::error::Error as _;

use bridge_core::{Array, Error, ManagedTensor, Refused};
use bridge_memory::patterns::Pipeline;
use bridge_testkit::fake_accelerator::{FakeArray, Faults, transfers};

use crate::support::{FAKE, HostArray, count, elements, fake, numbers, registry};

/// Each element of a host array, changed.
fn each(change: impl Fn(f32) -> f32) -> impl FnOnce(HostArray) -> Result<HostArray, Error> {
    move |array| {
        let values = array.0.as_slice::<f32>()?.iter().map(|&value| change(value)).collect();
        Ok(HostArray(ManagedTensor::from_vec(values, array.0.shape())?))
    }
}

#[test]
fn a_pipeline_does_its_stages_in_order() {
    // The seed's scene: times two, plus one, and back.
    let registry = registry();
    let result = Pipeline::of(&registry, numbers(3))
        .map_as("times two", each(|value| value * 2.0))
        .to_device(FAKE, fake(1))
        .try_map("look", |array| {
            assert_eq!(array.describe().unwrap().device, fake(1));
            Ok(array)
        })
        .to("host")
        .map_as("plus one", each(|value| value + 1.0))
        .run()
        .unwrap();
    assert_eq!(elements(result), [1.0, 3.0, 5.0]);
}

#[test]
fn conversions_that_lead_nowhere_are_left_out() {
    let registry = registry();
    let counted = count();
    transfers();
    // There, further, and back: nothing is between.
    let pipeline = Pipeline::of(&registry, numbers(3))
        .to_device(FAKE, fake(0))
        .to_device("fake", fake(1))
        .to("host");
    let explained = pipeline.explain().unwrap();
    assert!(
        explained.ends_with(
            "stay host, where the array is, leaving out fake-accelerator on extension:0, fake on \
             extension:1"
        ),
        "{explained}"
    );
    assert_eq!(elements(pipeline.run().unwrap()), [0.0, 1.0, 2.0]);
    assert_eq!((counted.conversions(), transfers()), (0, Default::default()));

    // The last two of these go to the same place.
    let pipeline = Pipeline::of(&registry, numbers(3))
        .to("plain")
        .to_device(FAKE, fake(0))
        .map("keep", Ok)
        .to("host")
        .to_device(FAKE, fake(2));
    let explained = pipeline.explain().unwrap();
    let lines: Vec<_> = explained.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "convert to fake-accelerator on extension:0, leaving out plain",
            "call keep",
            "convert to fake-accelerator on extension:2, leaving out host",
        ]
    );
    let result = pipeline.run().unwrap();
    assert_eq!(result.describe().unwrap().device, fake(2));
    let moved = transfers();
    assert_eq!((moved.uploads, moved.downloads, moved.peer_copies), (1, 0, 1));
}

#[test]
fn a_conversion_that_decides_the_device_is_not_left_out() {
    let registry = registry();
    // Without the first, the second would leave the array on device 1.
    let uploaded = |registry| {
        let pipeline = Pipeline::of(registry, numbers(3)).to_device(FAKE, fake(1));
        pipeline.run().unwrap()
    };
    let there = uploaded(&registry);
    let pipeline = Pipeline::of(&registry, there).to(FAKE).to_device(FAKE, fake(1));
    assert!(pipeline.explain().unwrap().contains("stay fake-accelerator on extension:1"));
    let there = pipeline.to_device(FAKE, fake(0)).to_device(FAKE, fake(1)).run().unwrap();
    let pipeline = Pipeline::of(&registry, there).to_device(FAKE, fake(0));
    let there = pipeline.to_device(FAKE, fake(1)).map("keep", Ok).run().unwrap();
    assert_eq!(there.describe().unwrap().device, fake(1));
    let moved = Pipeline::of(&registry, there).to_device(FAKE, fake(0)).run().unwrap();
    assert_eq!(moved.describe().unwrap().device, fake(0), "of the same backend, and elsewhere");
    let there = uploaded(&registry);
    let pipeline = Pipeline::of(&registry, there).to("host").to(FAKE);
    assert!(!pipeline.explain().unwrap().contains("leaving out"));
    assert_eq!(pipeline.run().unwrap().describe().unwrap().device, fake(0));
    // A device that was asked for is handed on.
    let pipeline = Pipeline::of(&registry, numbers(3)).to_device(FAKE, fake(1)).to(FAKE);
    let explained = pipeline.explain().unwrap();
    assert!(
        explained.contains("convert to fake-accelerator on extension:1, leaving"),
        "{explained}"
    );
    assert_eq!(pipeline.run().unwrap().describe().unwrap().device, fake(1));
}

#[test]
fn an_array_that_is_there_already_is_not_converted() {
    let registry = registry();
    let counted = count();
    let result = Pipeline::of(&registry, numbers(3)).to("host").map("keep", Ok).to("host").run();
    assert_eq!(elements(result.unwrap()), [0.0, 1.0, 2.0]);
    assert_eq!(counted.conversions(), 0);
}

#[test]
fn what_cannot_be_is_known_before_anything_is_done() {
    let registry = registry();
    let untouched = |_: Array| -> Result<Array, Error> { panic!("it ran") };
    // Also where it would be left out.
    let pipelines = [
        Pipeline::of(&registry, numbers(2)).map("run", untouched).to("jax").to("host"),
        Pipeline::of(&registry, numbers(2)).map("run", untouched).to_device("host", fake(0)),
    ];
    for (pipeline, told) in pipelines.into_iter().zip(["\"jax\"", "extension:0"]) {
        assert!(pipeline.explain().is_err());
        let stopped = pipeline.run().unwrap_err();
        assert!(stopped.to_string().contains(told), "{stopped}");
        assert_eq!(elements(stopped.into_array().unwrap()), [0.0, 1.0]);
    }
}

#[test]
fn a_failure_gives_the_array_back_where_it_was() {
    let registry = registry();
    let failing = Faults::out_of_memory_at(0).install();
    let pipeline =
        Pipeline::of(&registry, numbers(2)).map_as("times two", each(|value| value * 2.0)).to(FAKE);
    let stopped = pipeline.run().unwrap_err();
    drop(failing);
    assert_eq!(stopped.stage(), "convert to fake-accelerator");
    assert!(stopped.error().out_of_memory().is_some());
    assert!(stopped.source().is_some());
    // As the function left it.
    assert_eq!(elements(stopped.into_array().unwrap()), [0.0, 2.0]);
}

#[test]
fn functions_that_fail_give_back_what_they_have() {
    let registry = registry();
    let refusal = || Error::Unsupported { what: "this".to_owned(), remedy: "that".to_owned() };
    let refuse = |array| Err(Refused::new(array, refusal()));
    let stopped = Pipeline::of(&registry, numbers(2)).try_map("refuse", refuse).run().unwrap_err();
    assert_eq!(
        stopped.to_string(),
        "the pipeline stopped at \"call refuse\": this is not supported: that"
    );
    assert_eq!(elements(stopped.into_array().unwrap()), [0.0, 1.0]);
    let stopped = Pipeline::of(&registry, numbers(2)).map("lose", |_| Err(refusal())).run();
    assert!(stopped.unwrap_err().into_array().is_none());
    // A function of another type of array.
    let stopped = Pipeline::of(&registry, numbers(2)).map_as("fake", |array: FakeArray| Ok(array));
    let stopped = stopped.run().unwrap_err();
    assert!(matches!(stopped.error(), Error::WrongArrayType { .. }), "{stopped}");
    assert_eq!(elements(stopped.into_array().unwrap()), [0.0, 1.0]);
}
