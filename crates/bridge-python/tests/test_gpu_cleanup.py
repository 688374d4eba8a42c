from __future__ import annotations

import contextlib
import sys
import types

import pytest

from arraybridge import cleanup_all_gpu_frameworks, gpu_cleanup
from arraybridge.gpu_cleanup import MEMORY_TYPE_CLEANUP_REGISTRY
from arraybridge.types import MemoryType


def test_one_for_each():
    assert set(MEMORY_TYPE_CLEANUP_REGISTRY) == {member.value for member in MemoryType}
    for name, function in MEMORY_TYPE_CLEANUP_REGISTRY.items():
        assert function is getattr(gpu_cleanup, f"cleanup_{name}_gpu")


@pytest.mark.parametrize("name", [member.value for member in MemoryType])
def test_each_gives_a_number(name):
    assert MEMORY_TYPE_CLEANUP_REGISTRY[name]() >= 0
    assert MEMORY_TYPE_CLEANUP_REGISTRY[name](device_id=0) >= 0


def test_cycles_of_arrays_are_freed(numpy):
    import weakref

    class Node:
        pass

    node = Node()
    node.me, node.data = node, numpy.zeros(10)
    alive = weakref.ref(node)
    del node
    released = cleanup_all_gpu_frameworks()
    assert alive() is None
    assert isinstance(released, int)
    assert released == sum(released.by_framework.values())


def test_host_memory_goes_back(run_python):
    printed = run_python(
        # An array, not bytes: those lie in the interpreter's own memory, of which a free-threaded one keeps some for a while.
        "import gc, numpy; gc.disable()\n"
        "from arraybridge import cleanup_all_gpu_frameworks\n"
        "cleanup_all_gpu_frameworks()\n"
        "node = [numpy.ones(8 << 20)]; node.append(node); del node\n"
        "print(cleanup_all_gpu_frameworks())\n"
    )
    if sys.platform.startswith("linux"):
        assert int(printed) > 60 << 20


def test_nothing_is_imported(run_python):
    printed = run_python(
        "import sys\n"
        "from arraybridge import cleanup_all_gpu_frameworks\n"
        "cleanup_all_gpu_frameworks(0)\n"
        "print([n for n in ('numpy', 'torch', 'jax', 'cupy', 'tensorflow') if n in sys.modules])\n"
    )
    assert printed.strip() == "[]"


class Pool:
    def __init__(self, held):
        self.held = held

    def total_bytes(self):
        return self.held

    def free_all_blocks(self):
        self.held = 0


def stand_in_for_cupy(monkeypatch, pool):
    module = types.ModuleType("cupy")
    module.get_default_memory_pool = lambda: pool
    module.get_default_pinned_memory_pool = lambda: Pool(0)
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1)
    module.cuda = types.SimpleNamespace(runtime=runtime, Device=contextlib.nullcontext)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_pools_are_counted(monkeypatch):
    pool = Pool(4096)
    stand_in_for_cupy(monkeypatch, pool)
    released = cleanup_all_gpu_frameworks()
    assert pool.held == 0
    assert released.by_framework["cupy"] == 4096
    assert gpu_cleanup.cleanup_cupy_gpu().by_framework["cupy"] == 0


def test_one_that_fails_does_not_stop_the_others(monkeypatch, caplog):
    class Broken(Pool):
        def free_all_blocks(self):
            raise RuntimeError("no driver")

    stand_in_for_cupy(monkeypatch, Broken(1))
    assert cleanup_all_gpu_frameworks() >= 0
    assert "CuPy gave back nothing: no driver" in caplog.text


def test_on_a_gpu(torch):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    tensor = torch.empty(1 << 26, device="cuda")
    del tensor
    assert cleanup_all_gpu_frameworks().by_framework["torch"] >= 1 << 26
    assert torch.cuda.memory_reserved() == 0
