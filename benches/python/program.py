"""What the program takes beside `cp` and beside Python's own writers, in one run.

    cargo build --release -p bridge-cli
    python benches/python/program.py [--folder DIR] [--turns N] [--only one,2000,60000]

Each job and its peers take turns; what was written is removed between them, outside of the time. `arraybridge`
and `cp` are processes, and their time has their start. Python's writers run in this process, which has
imported them: `save` writes arrays that are in memory, `convert` reads the same file first. Nobody forces anything
to the disk. Files lie in DIR, else in the folder for temporary files, and are removed in the end; it takes 4 GiB
there and as much memory.

The table has the median of the turns; ratios above 1 mean that arraybridge is faster, and in brackets is that of
the best turns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

GIB = 1 << 30


def timed(function, out: Path) -> float:
    out.unlink(missing_ok=True)
    started = time.perf_counter()
    function()
    seconds = time.perf_counter() - started
    assert out.stat().st_size > 0, f"{out} was not written"
    return seconds


def process(*command):
    command = [str(word) for word in command]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def arrays_of(path: Path):
    """The arrays of a file, as Python reads them."""
    match path.suffix:
        case ".npy":
            return {"array": np.load(path)}
        case ".npz":
            with np.load(path) as file:
                return {name: file[name] for name in file.files}
        case ".safetensors":
            return safetensors.numpy.load_file(path)
        case ".pt":
            tensors = torch.load(path, weights_only=True)
            return {name: tensor.numpy() for name, tensor in tensors.items()}


def save(arrays, path: Path):
    """Writes arrays as the library of the format does."""
    match path.suffix:
        case ".npy":
            np.save(path, next(iter(arrays.values())))
        case ".npz":
            np.savez(path, **arrays)
        case ".safetensors":
            safetensors.numpy.save_file(arrays, path)
        case ".pt":
            torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)


def rows(folder: Path, program: str, arrays, pairs, turns: int):
    """Each pair of formats: ours beside its peers."""
    for source, target in pairs:
        path, out = folder / f"in{source}", folder / f"out{target}"
        if not path.exists():
            save(arrays, path)
        path.read_bytes()  # warm
        peers = {
            "cp": process("cp", path, out),
            "save": lambda: save(arrays, out),
            "convert": lambda: save(arrays_of(path), out),
        }
        jobs = {"ours": process(program, "convert", "--quiet", path, out), **peers}
        times = {name: [] for name in jobs}
        for turn in range(turns + 1):
            for name, job in jobs.items():
                seconds = timed(job, out)
                if turn > 0:  # the first one is for warming up
                    times[name].append(seconds)
        out.unlink()
        yield f"`{source}` to `{target}`", times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/arraybridge")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", default="one,2000,60000")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    sets = {
        "one": ("one array, 1 GiB", {"array": (GIB // 4,)}, [
            (".npy", ".npy"), (".npy", ".safetensors"), (".safetensors", ".npy"),
            (".npy", ".npz"), (".npy", ".pt")]),
        "2000": ("2,000 arrays of 64 × 64, 31 MiB", {f"layer.{i}.weight": (64, 64) for i in range(2000)}, [
            (".npz", ".safetensors"), (".safetensors", ".npz"), (".safetensors", ".pt"),
            (".pt", ".safetensors")]),
        "60000": ("60,000 arrays of 32, 7 MiB", {f"layer.{i}.weight": (32,) for i in range(60_000)}, [
            (".npz", ".safetensors"), (".safetensors", ".npz"), (".safetensors", ".pt"),
            (".pt", ".safetensors")]),
    }
    print("| job | ours | `cp` | library, from memory | library, from the file |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for key in args.only.split(","):
        title, shapes, pairs = sets[key]
        arrays = {name: random.random(shape, np.float32) for name, shape in shapes.items()}
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            for job, times in rows(Path(folder), args.program, arrays, pairs, args.turns):
                middle = {name: statistics.median(each) for name, each in times.items()}
                best = {name: min(each) for name, each in times.items()}
                cells = [f"{middle['ours'] * 1e3:,.0f} ms"]
                for name in ("cp", "save", "convert"):
                    ratio = middle[name] / middle["ours"]
                    cells.append(f"{ratio:.2f} ({best[name] / best['ours']:.2f})")
                print(f"| {title}: {job} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
