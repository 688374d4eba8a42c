"""The snippets of the page on NLSQ's memory manager, with the same calls, names and arguments.

They run under NLSQ's own module names, in a process of their own where NLSQ is not installed. What the
page leaves undefined is given. Arrays are smaller where the page's would take gigabytes.
"""

import subprocess
import sys
import textwrap

SETUP = """
from arraybridge.nlsq_memory import install_as_nlsq
install_as_nlsq()
"""


def run(code):
    """Runs it, and returns what it printed, as lines."""
    code = SETUP + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_basic_memory_management():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager

        mm = MemoryManager(gc_threshold=0.8, safety_factor=1.2)
        available = mm.get_available_memory()
        print(f"Available memory: {available / 1e9:.2f} GB")
        n_points = 1_000_000
        n_params = 10
        bytes_needed = mm.predict_memory_requirement(n_points, n_params, algorithm="trf")
        print(f"Memory needed: {bytes_needed / 1e9:.2f} GB")
        is_available, message = mm.check_memory_availability(bytes_needed)
        print(is_available, message)
    """)
    assert lines[0].startswith("Available memory: ") and lines[0].endswith(" GB")
    assert lines[1] == "Memory needed: 0.14 GB"
    assert lines[2].startswith("True Memory available: ")


def test_memory_safe_operations():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager
        import numpy as np

        def optimize(x, y):
            return float(np.polyfit(x, y, 1)[0])

        mm = MemoryManager()
        n_points = 5_000_000
        n_params = 5
        bytes_needed = mm.predict_memory_requirement(n_points, n_params, "trf")
        n_points = 50_000
        try:
            with mm.memory_guard(bytes_needed):
                x = np.random.randn(n_points)
                y = 2 * x + 1 + np.random.randn(n_points) * 0.1
                result = optimize(x, y)
                print(round(result))
        except MemoryError as e:
            print(f"Insufficient memory: {e}")

        try:
            with mm.memory_guard(10**18):
                print("not reached")
        except MemoryError as e:
            print(f"Insufficient memory: {e}")
    """)
    assert lines[0] == "2"
    assert lines[1].startswith("Insufficient memory: Insufficient memory: need 1000000000.00GB")


def test_array_pooling():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager
        import numpy as np

        def compute_jacobian():
            return np.ones((1000, 10))

        def compute_residuals():
            return np.ones(1000)

        mm = MemoryManager()
        jacobian = mm.allocate_array((1000, 10), dtype=np.float64, zero=True)
        residuals = mm.allocate_array((1000,), dtype=np.float64, zero=True)
        jacobian[:] = compute_jacobian()
        residuals[:] = compute_residuals()
        mm.free_array(jacobian)
        mm.free_array(residuals)
        address = jacobian.ctypes.data
        jacobian2 = mm.allocate_array((1000, 10), dtype=np.float64)
        print(jacobian2.ctypes.data == address, jacobian2.sum())
        another = mm.allocate_array((1000, 10), dtype=np.float64)
        print(another.ctypes.data == address)
    """)
    assert lines == ["True 0.0", "False"]


def test_temporary_allocations():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager
        import numpy as np

        def compute_intermediate_result():
            return np.full((1000, 50), 2.0)

        def process(array):
            return array.mean()

        mm = MemoryManager()
        with mm.temporary_allocation((1000, 50), dtype=np.float64) as temp_array:
            temp_array[:] = compute_intermediate_result()
            final_result = process(temp_array)
        print(final_result, mm.get_memory_stats()["pool_arrays"])
    """)
    assert lines == ["2.0 1"]


def test_chunking_strategy_estimation():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager

        mm = MemoryManager()
        n_points = 100_000_000
        n_params = 5
        memory_limit_gb = 4.0
        strategy = mm.estimate_chunking_strategy(
            n_points, n_params, algorithm="trf", memory_limit_gb=memory_limit_gb
        )
        if strategy["needs_chunking"]:
            print(f"Chunking required:")
            print(f"  Chunk size: {strategy['chunk_size']:,} points")
            print(f"  Number of chunks: {strategy['n_chunks']}")
            print(f"  Memory per chunk: {strategy['memory_per_chunk_gb']:.2f} GB")
        else:
            print("No chunking needed - dataset fits in memory")
    """)
    assert lines == [
        "Chunking required:",
        "  Chunk size: 1,000,000 points",
        "  Number of chunks: 100",
        "  Memory per chunk: 0.10 GB",
    ]


def test_global_memory_manager():
    lines = run("""
        from nlsq.caching.memory_manager import (
            get_memory_manager,
            get_memory_stats,
            clear_memory_pool,
        )

        mm = get_memory_manager()
        arr = mm.allocate_array((1000, 100))
        stats = get_memory_stats()
        print(f"Current usage: {stats['current_usage_gb']:.2f} GB")
        print(f"Peak usage: {stats['peak_usage_gb']:.2f} GB")
        print(f"Pool size: {stats['pool_arrays']} arrays")
        print(f"Allocation efficiency: {stats.get('efficiency', 1.0):.1%}")
        mm.free_array(arr)
        print(get_memory_stats()["pool_arrays"])
        clear_memory_pool()
        print(get_memory_stats()["pool_arrays"])
    """)
    assert lines[0].startswith("Current usage: 0.") and lines[1].startswith("Peak usage: 0.")
    assert lines[2:] == ["Pool size: 0 arrays", "Allocation efficiency: 0.0%", "1", "0"]


def test_integration_with_large_dataset_fitting():
    lines = run("""
        import importlib.util, sys
        import nlsq
        if importlib.util.find_spec("jax") is None:
            import types, numpy
            sys.modules["jax"] = types.ModuleType("jax")
            sys.modules["jax"].numpy = sys.modules["jax.numpy"] = numpy
        if getattr(nlsq, "__arraybridge__", False):
            # The fit itself is NLSQ's.
            nlsq.curve_fit_large = lambda f, x, y, p0, memory_limit_gb: (p0, f(x[:3], *p0))

        from nlsq import curve_fit_large
        from nlsq.caching.memory_manager import MemoryManager
        import jax.numpy as jnp
        import numpy as np

        mm = MemoryManager(gc_threshold=0.75)
        n_points = 50_000_000
        n_params = 3
        bytes_needed = mm.predict_memory_requirement(n_points, n_params, "trf")
        is_available, message = mm.check_memory_availability(bytes_needed)
        if not is_available:
            strategy = mm.estimate_chunking_strategy(n_points, n_params, memory_limit_gb=4.0)
            print(f"Using {strategy['n_chunks']} chunks")

        def exponential(x, a, b, c):
            return a * jnp.exp(-b * x) + c

        n_points = 5_000
        x = np.linspace(0, 10, n_points)
        y = 2.0 * np.exp(-0.5 * x) + 0.3 + np.random.normal(0, 0.05, n_points)
        # A machine that has not so much has said so above.
        with mm.memory_guard(bytes_needed if is_available else 1):
            popt, pcov = curve_fit_large(
                exponential, x, y, p0=[2.5, 0.6, 0.2], memory_limit_gb=4.0
            )
        print(bytes_needed, len(popt))
    """)
    assert lines[-1] == "3840000259 3"


def test_memory_statistics_and_diagnostics():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager

        mm = MemoryManager()
        for i in range(10):
            arr = mm.allocate_array((10000, 100))
            mm.free_array(arr)
        stats = mm.get_memory_stats()
        print("Memory Statistics:")
        print(f"  Current usage: {stats['current_usage_gb']:.2f} GB")
        print(f"  Available: {stats['available_gb']:.2f} GB")
        print(f"  Peak usage: {stats['peak_usage_gb']:.2f} GB")
        print(f"  Usage fraction: {stats['usage_fraction']:.1%}")
        print(f"  Pool memory: {stats['pool_memory_gb']:.3f} GB")
        print(f"  Pool arrays: {stats['pool_arrays']}")
        print(f"  Total allocations: {stats['allocations']}")
        if "efficiency" in stats:
            print(f"  Allocation efficiency: {stats['efficiency']:.1%}")
            print(f"  Total requested: {stats['total_requested_gb']:.2f} GB")
            print(f"  Total used: {stats['total_used_gb']:.2f} GB")
        mm.optimize_memory_pool(max_arrays=50)
    """)
    assert lines[5:10] == [
        "  Pool memory: 0.008 GB",
        "  Pool arrays: 1",
        "  Total allocations: 1",
        "  Allocation efficiency: 90.0%",
        "  Total requested: 0.01 GB",
    ]


def test_memory_prediction_for_different_algorithms():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager

        mm = MemoryManager()
        n_points = 10_000
        n_params = 20
        algorithms = ["trf", "lm", "dogbox"]
        for algo in algorithms:
            bytes_needed = mm.predict_memory_requirement(n_points, n_params, algo)
            print(f"{algo:8s}: {bytes_needed / 1e6:.2f} MB")
    """)
    # Those of the formulas: the page's own are placeholders.
    assert lines == ["trf     : 2.40 MB", "lm      : 2.31 MB", "dogbox  : 2.50 MB"]


def test_configuration():
    lines = run("""
        from nlsq.caching.memory_manager import MemoryManager

        conservative_mm = MemoryManager(gc_threshold=0.7, safety_factor=1.5)
        aggressive_mm = MemoryManager(gc_threshold=0.9, safety_factor=1.1)
        custom_mm = MemoryManager(
            gc_threshold=0.8,
            safety_factor=1.3,
        )
        for mm in (conservative_mm, aggressive_mm, custom_mm):
            print(mm.gc_threshold, mm.predict_memory_requirement(1000, 10))
    """)
    assert lines == ["0.7 181920", "0.9 133408", "0.8 157664"]
