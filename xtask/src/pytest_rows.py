"""Tells `cargo xtask test-matrix` of every test as it starts and as it ends, with the row it counts in.

A row is a framework. A test counts in the last row, in the order of the table, that its marks
(`framework_torch`), its file (`test_torch.py`) or its parameters (`test_cell[numpy-torch]`) name; in
`package` where it names none. A test of CuPy with the mark `gpu` needs a GPU, the others use a test
double. Tests of a row that cannot run here are left out: the table says why.
"""

import json
import os
import re
import time

import pytest

ROWS = json.loads(os.environ["ARRAYBRIDGE_TEST_ROWS"])
ABSENT = set(json.loads(os.environ["ARRAYBRIDGE_ABSENT_ROWS"]))
EVENTS = os.environ["ARRAYBRIDGE_TEST_EVENTS"]

FRAMEWORKS = [row for row in ROWS if row.isidentifier() and row not in ("package", "doctests")]
SIMULATED = "cupy (simulated)"

# "gw0", "gw1", … in the workers of pytest-xdist. Each of them reads every file.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
IS_FIRST_TO_READ = WORKER in (None, "gw0")

SKIPPED_FILES = set()
OUTCOMES = pytest.StashKey()


def tell(**event):
    # Opened each time, so that a crash loses nothing.
    with open(EVENTS, "a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def rows_named(words, gpu=False):
    words = set(words)
    rows = [row for row in FRAMEWORKS if row in words]
    if "cupy" in rows and not gpu:
        rows[rows.index("cupy")] = SIMULATED
    return rows or ["package"]


def words_of_file(path):
    return re.split(r"[^a-z0-9]+", os.path.basename(path).lower())


def rows_of(item):
    if type(item).__name__ == "DoctestItem":
        return ["doctests"]
    marks = {mark.name for mark in item.iter_markers()}
    words = [name.removeprefix("framework_") for name in marks if name.startswith("framework_")]
    words += words_of_file(str(item.path))
    # "test_cell[numpy-torch]"
    words += re.split(r"[^a-z0-9]+", item.name.partition("[")[2].lower())
    return rows_named(words, "gpu" in marks)


def row_of(item):
    return max(rows_of(item), key=ROWS.index)


def pytest_configure(config):
    for name in FRAMEWORKS:
        config.addinivalue_line("markers", f"framework_{name}: a test that needs {name}")
    config.addinivalue_line("markers", "gpu: a test that needs an NVIDIA GPU")


def pytest_sessionstart(session):
    # PoCL crashes in a process in which TensorFlow was loaded before it.
    if "pyclesperanto" not in ABSENT:
        import pyclesperanto  # noqa: F401


def pytest_ignore_collect(collection_path):
    if collection_path.suffix == ".py" and collection_path.name.startswith("test_"):
        if ABSENT.intersection(rows_named(words_of_file(collection_path), gpu=True)) - {"cupy"}:
            return True
    return None


def pytest_collection_modifyitems(config, items):
    absent = [item for item in items if ABSENT.intersection(rows_of(item))]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in set(absent)]


def pytest_collectreport(report):
    # A file that cannot be read, or that skips itself as a whole: then its examples are skipped too.
    if IS_FIRST_TO_READ and (report.failed or report.skipped and report.nodeid not in SKIPPED_FILES):
        SKIPPED_FILES.add(report.nodeid)
        row = max(rows_named(words_of_file(report.nodeid)), key=ROWS.index)
        tell(event="end", test=report.nodeid, row=row, outcome=report.outcome, seconds=0.0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    row = row_of(item)
    tell(event="start", test=item.nodeid, row=row)
    item.stash[OUTCOMES] = []
    started = time.monotonic()
    result = yield
    outcomes = item.stash[OUTCOMES]
    outcome = next((one for one in ("failed", "skipped") if one in outcomes), "passed")
    seconds = time.monotonic() - started
    tell(event="end", test=item.nodeid, row=row, outcome=outcome, seconds=seconds)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.stash[OUTCOMES].append(report.outcome)
    return report


def pytest_sessionfinish(session, exitstatus):
    if WORKER is None:
        tell(event="finish", test="", row="package")
