from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

import arraybridge

NAMES = (
    "MemoryType CPU_MEMORY_TYPES GPU_MEMORY_TYPES SUPPORTED_MEMORY_TYPES convert_memory "
    "detect_memory_type memory_types numpy cupy torch tensorflow jax pyclesperanto "
    "DtypeConversion stack_slices unstack_slices process_slices cleanup_all_gpu_frameworks "
    "MemoryConversionError SCALING_FUNCTIONS _FRAMEWORK_CONFIG _FRAMEWORK_OPS "
    "_execute_with_oom_recovery _ensure_module _supports_dlpack _get_device_id ArrayLibrary Array "
    "Device HostDevice AcceleratorDevice NamedDevice HOST ConversionRoute ConversionRecord "
    "ConversionObserver ConversionCounters MemoryContractAttribute ArrayPayload ArrayGeometry "
    "SliceBySliceRuntimeParameter wrap_dtype_preserving_callable"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_the_names_of_released_versions(name):
    assert getattr(arraybridge, name) is not None
    assert name in dir(arraybridge)


def test_a_name_that_is_none():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        arraybridge.nothing  # noqa: B018
    with pytest.raises(ImportError):
        from arraybridge import nothing  # noqa: F401


def test_all_can_be_imported():
    space = {}
    exec("from arraybridge import *", space)
    assert set(arraybridge.__all__) <= set(space)
    assert space["torch"] is arraybridge.torch
    assert callable(arraybridge.torch)


def test_submodules_are_attributes(run_python):
    """Each that is for users, and none imports a framework; `dask` needs a package, and is imported by name."""
    printed = run_python(
        "import pkgutil, sys, arraybridge\n"
        "names = {module.name for module in pkgutil.iter_modules(arraybridge.__path__)}\n"
        "hidden = {'_native', '__main__', 'dask', 'callers', 'html_tables', 'decorated_functions', 'decorator_terms', "
        "'masked_arrays', 'mixed_precision', 'nested_arrays', 'training_modules'}\n"
        "missing = sorted(names - hidden - set(dir(arraybridge)))\n"
        "missing += [n for n in names - hidden if not hasattr(arraybridge, n)]\n"
        "print(missing, 'torch' in sys.modules, arraybridge.stack_utils.__name__)\n"
    )
    assert printed.strip() == "[] False arraybridge.stack_utils"


def test_no_framework_is_imported(run_python):
    printed = run_python(
        "import sys\n"
        "import arraybridge\n"
        "from arraybridge import *\n"
        "import arraybridge.framework_config, arraybridge.converters_registry\n"
        "@torch\n"
        "def f(x): return x\n"
        "f(3)\n"
        "cleanup_all_gpu_frameworks()\n"
        "try: detect_memory_type([])\n"
        "except ValueError: pass\n"
        "names = ('numpy', 'cupy', 'torch', 'tensorflow', 'jax', 'pyclesperanto')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    assert printed.strip() == "[]"


def test_importing_is_fast(run_python):
    program = (
        "import time\nstart = time.perf_counter()\nimport arraybridge\n"
        "print(time.perf_counter() - start)"
    )
    assert min(float(run_python(program)) for _ in range(3)) < 0.03


def test_it_can_be_imported_in_many_threads_at_once(run_python):
    printed = run_python(
        "import threading, arraybridge\n"
        "seen = []\n"
        "def work(): seen.append(arraybridge.convert_memory)\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(len(seen), len(set(seen)))\n"
    )
    assert printed.split() == ["8", "1"]


def linked(path):
    """The libraries that a file of ELF, of 64 bits, names as those it is linked to."""
    data = Path(path).read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    order = "<" if data[5] == 1 else ">"
    start, size, count = struct.unpack_from(f"{order}32xQ14xHH", data)
    places = [start + index * size for index in range(count)]
    segments = [struct.unpack_from(f"{order}IIQQQQQQ", data, place) for place in places]

    def place(address):
        """Where in the file that is which is loaded at the address."""
        for kind, _, offset, virtual, _, length, *_ in segments:
            if kind == 1 and virtual <= address < virtual + length:
                return offset + address - virtual
        raise AssertionError(f"nothing is loaded at {address:#x}")

    [(offset, length)] = [(segment[2], segment[5]) for segment in segments if segment[0] == 2]
    entries = list(struct.iter_unpack(f"{order}QQ", data[offset : offset + length]))
    [names] = [place(value) for tag, value in entries if tag == 5]
    starts = [names + value for tag, value in entries if tag == 1]
    return {data[start : data.index(b"\0", start)].decode() for start in starts}


needs_elf = pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="reads ELF of 64 bits")

#: What every Linux has.
SYSTEM = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"}


@needs_elf
def test_no_framework_and_no_driver_is_linked():
    from arraybridge import _native

    names = {name for name in linked(_native.__file__) if not name.startswith("ld-linux")}
    assert "libc.so.6" in names and names <= SYSTEM, names


@needs_elf
def test_where_libtorch_is_linked_that_is_found(torch):
    """So the test above would see it."""
    assert any(name.startswith("libtorch") for name in linked(torch._C.__file__))


@needs_elf
def test_no_framework_and_no_driver_is_loaded_by_what_needs_none(run_python):
    printed = run_python("""
from arraybridge import convert, detect_memory_type, plan
for target in ("tensor", "ndarray", "candle"):
    plan(bytearray(8), target)
    convert(bytearray(8), target)
files = {line.split()[-1].rpartition("/")[2] for line in open("/proc/self/maps") if "/" in line}
words = ("torch", "c10", "cuda", "OpenCL", "jax", "tensorflow", "cupy", "numpy")
print(sorted(name for name in files if any(word in name for word in words)))
""")
    assert printed.strip() == "[]"


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_a_subinterpreter_is_refused_with_a_sentence(kind, run_python):
    printed = run_python(f"""
try:
    import _interpreters as interpreters
    made = interpreters.create({kind!r})
except ImportError:
    import _xxsubinterpreters as interpreters
    made = interpreters.create(isolated={kind == "isolated"})
code = '''
import arraybridge
for _ in range(2):
    try:
        arraybridge.convert
    except ImportError as error:
        print(error, flush=True)
    else:
        print("it is there", flush=True)
'''
import arraybridge
arraybridge.convert
interpreters.run_string(made, code)
interpreters.destroy(made)
print(arraybridge.convert(b"abc", "tensor").shape)
""")
    first, second, last = printed.splitlines()
    assert first == second and "subinterpreter" in first, first
    assert last == "(3,)", "the main interpreter goes on"


def test_the_version(run_python):
    import importlib.metadata

    assert arraybridge.__version__ == importlib.metadata.version("arraybridge")
    assert "__version__" in dir(arraybridge)
    assert "__version__" not in arraybridge.__all__
    printed = run_python("import sys, arraybridge\nprint(arraybridge.__version__, 'numpy' in sys.modules)")
    assert printed.split() == [arraybridge.__version__, "False"]
