from __future__ import annotations

import json
import sys
import threading

import pytest

import numpy as np

from arraybridge import HOST, AcceleratorDevice, ArrayLibrary, convert_memory
from arraybridge.conversion import (
    ConversionCounters,
    ConversionObserver,
    ConversionRecord,
    ConversionRoute,
    ConversionTotal,
    DeviceMove,
    DLPackExchange,
    HostCopy,
    IgnoreConversions,
    RouteDeclinedError,
    SharedHostBuffer,
    StaysInPlace,
)


class Kept(ConversionObserver):
    def __init__(self):
        self.records = []

    def record(self, record):
        self.records.append(record)


RECORD = ConversionRecord("numpy", "host", "torch", "host", "host copy", 8, 0.5, ("dlpack",))


class TestObserving:
    def test_what_is_shared(self, torch):
        kept = Kept()
        with kept.installed() as installed:
            assert installed is kept
            assert ConversionObserver.current is kept
            convert_memory(np.ones(4), "numpy", "torch", gpu_id=None)
        assert ConversionObserver.current is None
        (record,) = kept.records
        assert record.mechanism == "shared host buffer"
        assert (record.source_library, record.source_device) == ("numpy", "host")
        assert (record.target_library, record.target_device) == ("torch", "host")
        assert record.nbytes == 32
        assert record.seconds > 0
        assert record.declined_mechanisms == ()

    def test_what_is_copied_says_what_was_declined(self, torch):
        kept = Kept()
        with kept.installed():
            convert_memory(np.ones(4)[::-1], "numpy", "torch", gpu_id=None)
        assert kept.records[0].mechanism == "host copy"
        assert kept.records[0].declined_mechanisms == ("shared host buffer",)

    def test_what_stays_in_place_is_not_recorded(self):
        kept = Kept()
        with kept.installed():
            convert_memory(np.ones(4), "numpy", "numpy")
        assert kept.records == []

    def test_blocks_within_each_other(self, torch):
        outer, inner = Kept(), Kept()
        with outer.installed():
            with inner.installed():
                convert_memory(np.ones(1), "numpy", "torch", gpu_id=None)
            with IgnoreConversions().installed():
                convert_memory(np.ones(1), "numpy", "torch", gpu_id=None)
            assert ConversionObserver.current is outer
        assert len(inner.records) == 1
        assert outer.records == []

    def test_a_new_thread_is_observed_where_threads_inherit_contexts(self, torch):
        kept = Kept()

        def work():
            convert_memory(np.ones(1), "numpy", "torch", gpu_id=None)

        with kept.installed():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        # They do on free-threaded interpreters, unless those are told otherwise.
        inherits = getattr(sys.flags, "thread_inherit_context", 0)
        assert len(kept.records) == (1 if inherits else 0)

    def test_what_an_observer_raises_is_the_callers_and_the_array_is_as_it_was(self, torch):
        class Broken(ConversionObserver):
            def record(self, record):
                raise LookupError(record.mechanism)

        broken, array = Broken(), np.arange(4.0)[::-1]
        with broken.installed():
            for _ in range(2):
                with pytest.raises(LookupError, match="host copy") as caught:
                    convert_memory(array, "numpy", "torch", gpu_id=None)
                assert caught.value.__cause__ is None and caught.value.__context__ is None
            assert ConversionObserver.current is broken
            assert convert_memory(array, "numpy", "numpy") is array, "there is nothing to record"
        assert array.tolist() == [3, 2, 1, 0]
        assert convert_memory(array, "numpy", "torch", gpu_id=None).tolist() == [3, 2, 1, 0]

    def test_an_error_ends_the_block(self):
        with pytest.raises(KeyError), Kept().installed():
            raise KeyError
        assert ConversionObserver.current is None


class TestRecords:
    def test_json(self):
        row = json.loads(json.dumps(RECORD.to_json()))
        assert row["declined_mechanisms"] == ["dlpack"]
        assert ConversionRecord.from_json(row) == RECORD

    def test_counters(self):
        counters = ConversionCounters()
        counters.record(RECORD)
        counters.record(RECORD)
        assert counters.totals[RECORD.key] == ConversionTotal(2, 16, 1.0)
        rows = json.loads(json.dumps(counters.to_json()))
        assert ConversionCounters.from_json(rows) == counters
        assert rows[0]["count"] == 2
        assert rows[0]["mechanism"] == "host copy"

    def test_merging(self):
        left, right = ConversionCounters(), ConversionCounters()
        left.record(RECORD)
        right.record(RECORD)
        assert left.merge(right) is left
        assert left.totals[RECORD.key].count == 2
        assert right.totals[RECORD.key].count == 1

    def test_a_table(self):
        counters = ConversionCounters()
        counters.record(RECORD)
        lines = counters.format_table().splitlines()
        assert len(lines) == 2
        assert "numpy host" in lines[1]
        assert lines[1].endswith("dlpack")

    def test_counting(self, torch):
        counters = ConversionCounters()
        with counters.installed():
            for _ in range(3):
                convert_memory(np.ones(2), "numpy", "torch", gpu_id=None)
        (row,) = counters.rows()
        assert (row["count"], row["nbytes"]) == (3, 48)


class TestRoutes:
    @pytest.mark.parametrize(
        ("source", "source_device", "target", "target_device", "route"),
        [
            ("numpy", HOST, "numpy", HOST, StaysInPlace),
            ("torch", HOST, "torch", AcceleratorDevice(0), DeviceMove),
            ("cupy", AcceleratorDevice(0), "torch", AcceleratorDevice(0), DLPackExchange),
            ("jax", HOST, "torch", HOST, DLPackExchange),
            ("numpy", HOST, "torch", HOST, SharedHostBuffer),
            ("torch", HOST, "numpy", HOST, SharedHostBuffer),
            ("jax", HOST, "numpy", HOST, SharedHostBuffer),
            ("numpy", HOST, "torch", AcceleratorDevice(0), HostCopy),
            ("torch", HOST, "cupy", AcceleratorDevice(0), HostCopy),
            ("numpy", HOST, "pyclesperanto", AcceleratorDevice(0), HostCopy),
            ("torch", HOST, "pyclesperanto", AcceleratorDevice(0), HostCopy),
        ],
    )
    def test_planned(self, source, source_device, target, target_device, route):
        libraries = ArrayLibrary.named(source), ArrayLibrary.named(target)
        ends = (libraries[0], source_device, libraries[1], target_device)
        assert ConversionRoute.planned(*ends) is route
        assert ConversionRoute.candidates(*ends)[0] is route
        assert ConversionRoute.planned(source, source_device, target, target_device) is route

    def test_every_pair_has_a_route(self):
        devices = (HOST, AcceleratorDevice(0), AcceleratorDevice(1))
        for source in ArrayLibrary.all():
            for target in ArrayLibrary.all():
                for before in devices:
                    for after in devices:
                        assert ConversionRoute.planned(source, before, target, after)

    def test_planning_imports_nothing(self, run_python):
        printed = run_python(
            "import sys\n"
            "from arraybridge import ConversionRoute, HOST, ArrayLibrary\n"
            "named = ArrayLibrary.named\n"
            "print(ConversionRoute.planned(named('jax'), HOST, named('torch'), HOST).mechanism)\n"
            "print(*(name in sys.modules for name in ('jax', 'torch', 'numpy')))\n"
        )
        assert printed.split() == ["dlpack", "False", "False", "False"]

    def test_running(self, torch):
        result = ConversionRoute.run(np.ones(2), "numpy", "torch", HOST)
        assert result.tolist() == [1, 1]
        route = ConversionRoute.planned("numpy", HOST, "torch", HOST)
        assert route.taken(np.ones(2), result, "numpy", "torch") is HostCopy
        assert SharedHostBuffer.convert(np.ones(2), "numpy", "torch", HOST).tolist() == [1, 1]

    def test_a_route_that_does_not_lead_there(self, torch):
        with pytest.raises(RouteDeclinedError):
            StaysInPlace.convert(np.ones(2), "numpy", "torch", HOST)

    def test_a_copy_shares_nothing(self, torch):
        array = np.ones(2)
        tensor = HostCopy.convert(array, "numpy", "torch", HOST)
        tensor += 1
        assert array.tolist() == [1, 1]
