"""Functions of a framework on the blocks of a Dask array, on a cluster that exists.

    from arraybridge.dask import map_blocks, prepare

    prepare(client, budget="2 GiB")
    sharp = map_blocks(sharpen, images, input_type="torch", dtype="float32")
    sharp.mean().compute()

Each worker has a device and a budget of its own, recovers from a lack of memory by itself, and
gives results back as arrays of NumPy, so that nothing stays on its device. `prepare` is optional
on the host: it says which devices and how many bytes, and has the workers know how arrays of
frameworks are sent from one to another.
"""

from __future__ import annotations

try:
    import dask.array as _array  # noqa: F401
    import distributed as _distributed  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"arraybridge.dask needs dask.array and distributed, and one cannot be imported ({error}). "
        "Install them, for example with `pip install 'arraybridge[dask]'`, on the client and on "
        "every worker",
        name=error.name,
    ) from error

from .blocks import map_blocks, map_overlap
from .serialization import register_serializers
from .workers import NoRoom, WorkerSetup, prepare, status

__all__ = [
    "NoRoom",
    "WorkerSetup",
    "map_blocks",
    "map_overlap",
    "prepare",
    "register_serializers",
    "status",
]

register_serializers()
