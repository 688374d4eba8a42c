from __future__ import annotations

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
        "hidden = {'_native', '__main__', 'dask', 'callers', 'decorated_functions', 'decorator_terms', "
        "'mixed_precision', 'nested_arrays', 'training_modules'}\n"
        "missing = [n for n in names - hidden if not hasattr(arraybridge, n)]\n"
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
