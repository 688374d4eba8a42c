"""Files of arrays that installed packages bring, and what was made of them.

`compare.py list PACKAGE…` prints their paths, one a line. `compare.py check JOBS` reads what was made of
each, and compares it with what the package's own library reads. `compare.py write FOLDER SOURCE…` lets
safetensors write what it can of each .npy or .npz file, as 0.safetensors and so on, beside the same as .npz.
"""

import importlib.util
import json
import pathlib
import sys

import numpy as np
from safetensors import numpy as st

# Of each element type, the formats that have it.
IN_NPZ = set("?bBhHiIqQlLefdFD")
IN_SAFETENSORS = IN_NPZ - {"D"}


def arrays_of(path):
    """What NumPy reads without a pickle, by name; None in place of what it does not."""
    try:
        found = np.load(path, allow_pickle=False)
    except ValueError:
        return {"": None}
    if isinstance(found, np.ndarray):
        return fields_of("", found)
    arrays = {}
    for name in found.files:
        try:
            arrays.update(fields_of(name, found[name]))
        except ValueError:
            arrays[name] = None
    return arrays


def fields_of(name, array):
    if array.dtype.names is None:
        return {name: array}
    prefix = name + "." if name else ""
    return {prefix + field: array[field] for field in array.dtype.names}


def is_in(array, types):
    return array is not None and array.dtype.char in types


def listed(packages):
    for package in packages:
        root = pathlib.Path(importlib.util.find_spec(package).origin).parent
        for path in sorted(root.rglob("*.np[yz]")):
            print(path)


def same(expected, found, what):
    assert found.dtype == expected.dtype.newbyteorder("="), (what, found.dtype, expected.dtype)
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    # To the bit: a NaN is what it was.
    assert found.tobytes() == expected.astype(found.dtype).tobytes(), what


def check(jobs):
    compared = left_out = 0
    for job in jobs:
        source, made = pathlib.Path(job["source"]), job["made"]
        types = IN_SAFETENSORS if made.endswith(".safetensors") else IN_NPZ
        expected = arrays_of(source)
        storable = {name: array for name, array in expected.items() if is_in(array, types)}
        if not job["converted"]:
            assert not storable, (source, "was refused", job["error"])
            left_out += len(expected)
            continue
        found = st.load_file(made) if made.endswith(".safetensors") else dict(np.load(made))
        # An array without a name is called as its file.
        named = {name or source.stem: array for name, array in storable.items()}
        assert found.keys() == named.keys(), (source, sorted(found), sorted(named))
        for name, array in named.items():
            same(array, found[name], (str(source), name, made))
        assert len(job["skipped"]) == len(expected) - len(storable), (source, job["skipped"])
        compared += len(named)
        left_out += len(job["skipped"])
    print(json.dumps({"compared": compared, "left_out": left_out}))


def write(folder, sources):
    for number, source in enumerate(sources):
        write_one(source, pathlib.Path(folder) / f"{number}.safetensors")


def write_one(source, target):
    arrays = {name or "array": array for name, array in arrays_of(source).items()}
    arrays = {
        name: np.ascontiguousarray(array)
        for name, array in arrays.items()
        if is_in(array, IN_SAFETENSORS) and array.dtype.char != "F"
    }
    st.save_file(arrays, target, metadata={"source": pathlib.Path(source).name})
    np.savez(target.with_suffix(".npz"), **arrays)


command, arguments = sys.argv[1], sys.argv[2:]
if command == "list":
    listed(arguments)
elif command == "check":
    check(json.loads(pathlib.Path(arguments[0]).read_text()))
elif command == "write":
    write(arguments[0], arguments[1:])
