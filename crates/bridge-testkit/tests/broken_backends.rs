//! Backends with one mistake each: the suite must find it, and find none in the backend without.

mod lies;
mod mistakes;

use bridge_core::Registration;
use bridge_testkit::conformance::{self, Outcome, Verdict};
use bridge_testkit::fake_accelerator::FakeAccelerator;
use lies::queued::{self, Waits};
use lies::{Liar, Lie};
use mistakes::{Backend, Mistake};

fn outcome<M: Mistake>(backend: &'static Backend<M>) -> Outcome {
    conformance::check_all(backend, &[Registration::allocator(backend)])
}

macro_rules! mistakes_are_found {
    ($($test:ident: $mistake:ident breaks $($law:literal),+;)*) => {
        $(
            #[test]
            #[cfg_attr(miri, ignore = "the small suite tries too little to find every mistake")]
            fn $test() {
                static BACKEND: Backend<mistakes::$mistake> = Backend::new();
                let outcome = outcome(&BACKEND);
                let broken: Vec<_> = outcome.broken().collect();
                for law in [$($law),+] {
                    assert!(broken.contains(&law), "{law} did not find it, only {broken:?} did");
                }
            }
        )*
    };
}

mistakes_are_found! {
    copying_is_found: Copies breaks
        "accepted_tensors_are_taken_without_a_copy", "exports_are_taken_back",
        "conversions_keep_every_bit";
    leaking_is_found: Leaks breaks
        "owners_are_dropped_once", "panics_drop_owners_once", "dlpack_headers_tell_the_truth";
    dropped_strides_are_found: DropsStrides breaks
        "accepted_tensors_are_taken_without_a_copy", "conversions_keep_every_bit";
    an_ignored_offset_is_found: IgnoresOffset breaks
        "accepted_tensors_are_taken_without_a_copy", "conversions_keep_every_bit";
    a_changed_element_type_is_found: ChangesDataType breaks
        "accepted_tensors_are_taken_without_a_copy", "describe_says_what_export_gives";
    writable_read_only_memory_is_found: MakesWritable breaks
        "read_only_stays_read_only", "shared_memory_is_never_called_exclusive",
        "dlpack_headers_tell_the_truth";
    a_dropped_refusal_is_found: SwapsRefused breaks "other_tensors_come_back_unharmed";
    taking_what_it_does_not_accept_is_found: TakesEverything breaks
        "other_tensors_come_back_unharmed";
    refusing_what_it_accepts_is_found: RefusesColumnMajor breaks
        "accepted_tensors_are_taken_without_a_copy", "copy_never_shares_or_gives_back";
    refusing_its_own_export_is_found: RefusesOwnExport breaks "exports_are_taken_back";
    a_wrong_description_is_found: DescribesRowMajor breaks "describe_says_what_export_gives";
    refusing_odd_empties_is_found: RefusesOddEmpties breaks "copy_never_shares_or_gives_back";
    tidied_booleans_are_found: TidiesBooleans breaks "bytes_that_are_no_bool_stay_bytes";
    a_bad_name_is_found: BadName breaks "descriptor_is_sane";
    a_changing_availability_is_found: ChangesItsMind breaks "availability_is_quick_and_stable";
    a_panicking_availability_is_found: PanicsWhenAsked breaks "availability_is_quick_and_stable";
    an_empty_remedy_is_found: NoRemedy breaks "availability_is_quick_and_stable";
    a_panicking_memory_query_is_found: PanicsOnMemory breaks "memory_is_zeroed_and_measured";
    an_import_without_a_driver_is_found: ImportsUnavailable breaks
        "unavailable_is_an_error_not_a_crash";
    refusing_long_axes_is_found: RefusesLongAxes breaks
        "accepted_tensors_are_taken_without_a_copy";
    refusing_many_elements_is_found: RefusesManyElements breaks
        "accepted_tensors_are_taken_without_a_copy";
    refusing_one_rank_is_found: RefusesRankSeven breaks
        "accepted_tensors_are_taken_without_a_copy";
    a_wrong_owner_is_found: DescribesAnotherOwner breaks "describe_says_what_export_gives";
    an_overstated_alignment_is_found: OverstatesAlignment breaks
        "describe_says_what_export_gives";
    panicking_details_are_found: PanicsOnDetails breaks "descriptor_is_sane";
    trimming_more_than_there_is_is_found: TrimsTooMuch breaks "memory_is_zeroed_and_measured";
    trimming_the_same_again_is_found: TrimsAgain breaks "memory_is_zeroed_and_measured";
    dirty_memory_is_found: DirtyMemory breaks "memory_is_zeroed_and_measured";
}

#[test]
fn backends_without_mistakes_keep_every_law() {
    static ANY: Backend<mistakes::NoMistake> = Backend::new();
    static COLUMNS: Backend<mistakes::Columns> = Backend::new();
    static VECTORS: Backend<mistakes::Vectors> = Backend::new();
    for outcome in [outcome(&ANY), outcome(&COLUMNS), outcome(&VECTORS)] {
        assert!(outcome.is_conformant(), "{outcome}");
    }
}

#[test]
fn an_unavailable_backend_is_reported_and_not_skipped() {
    static BACKEND: Backend<mistakes::Unavailable> = Backend::new();
    let outcome = outcome(&BACKEND);
    assert!(outcome.is_conformant(), "{outcome}");
    let reported = outcome
        .verdicts
        .iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Unavailable { .. }));
    assert_eq!(reported.count(), conformance::law_names().count() - 3, "{outcome}");
    assert!(outcome.to_string().contains("no driver"), "{outcome}");
}

/// What a law finds in the fake accelerator where its runtime lies.
fn verdict_on_liar<L: Lie>(runtime: &'static Liar<L>, law: &str) -> Verdict {
    let more = [Registration::runtime(runtime), Registration::allocator(&FakeAccelerator)];
    conformance::check(&FakeAccelerator, &more, law)
}

/// What a law finds in a backend whose device works later.
fn verdict_on_queued<M: Waits>(backend: &'static Backend<M>, law: &str) -> Verdict {
    conformance::check(backend, &[Registration::runtime(backend)], law)
}

macro_rules! lies_are_found {
    ($verdict:ident: $($test:ident: $lie:path, a $kind:ident, breaks $law:literal: $found:literal;)*) => {
        $(
            #[test]
            #[cfg_attr(miri, ignore = "the small suite tries too little to find every mistake")]
            fn $test() {
                static LIAR: $kind<$lie> = $kind::new();
                let verdict = $verdict(&LIAR, $law);
                let Verdict::Broken { findings, .. } = verdict else {
                    panic!("{}: {verdict}", $law);
                };
                let found = findings.iter().any(|finding| finding.contains($found));
                assert!(found, "it was found for another reason: {findings:?}");
            }
        )*
    };
}

lies_are_found! { verdict_on_liar:
    laundering_by_map_is_found: lies::LaundersMaps, a Liar, breaks
        "memory_used_in_place_comes_back":
        "ReadOnly memory came out as Exclusive";
    a_map_that_forgets_the_owner_is_found: lies::ForgetsOwners, a Liar, breaks
        "memory_used_in_place_comes_back":
        "came back without its owner";
    a_map_that_refuses_what_was_promised_is_found: lies::MapsRowsOnly, a Liar, breaks
        "memory_used_in_place_comes_back":
        "mapping promised it";
    saturating_under_refuse_is_found: lies::SaturatesAlways, a Liar, breaks
        "casts_happen_on_request_only":
        "under Overflow::Refuse";
    pinned_downloads_are_found: lies::PinsDownloads, a Liar, breaks
        "results_are_ready_when_they_say_so":
        "no allocation that a vector could own";
    a_write_that_does_not_is_found: lies::WritesNothing, a Liar, breaks
        "device_routes_are_exact":
        "the elements differ";
    a_write_to_other_memory_is_found: lies::WritesElsewhere, a Liar, breaks
        "device_routes_are_exact":
        "other memory back than it was given";
}

lies_are_found! { verdict_on_queued:
    a_synchronize_that_does_not_wait_is_found: queued::NeverSynchronizes, a Backend, breaks
        "results_are_ready_when_they_say_so":
        "where it lies: the elements differ";
    a_missing_stream_is_found: queued::HidesItsStream, a Backend, breaks
        "results_are_ready_when_they_say_so":
        "where it lies: the elements differ";
    a_map_that_does_not_wait_is_found: queued::MapsAtOnce, a Backend, breaks
        "results_are_ready_when_they_say_so":
        "in place: the elements differ";
}

#[test]
fn honest_runtimes_keep_every_law() {
    static HONEST: Liar<lies::Honest> = Liar::new();
    static WAITING: Backend<queued::Waiting> = Backend::new();
    for law in conformance::law_names() {
        let verdicts = [verdict_on_liar(&HONEST, law), verdict_on_queued(&WAITING, law)];
        for verdict in verdicts {
            assert!(matches!(verdict, Verdict::Kept { .. }), "{law}: {verdict}");
        }
    }
}
