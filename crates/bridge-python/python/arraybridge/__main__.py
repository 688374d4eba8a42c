"""`python -m arraybridge`: the program, with Python's frameworks among its backends.

`doctor` and `matrix` import every framework that is installed; `convert`, `info`, `diff`, `plan` and
`monitor` are those of the program (docs/program.md).
"""

from __future__ import annotations

import os
import sys

from . import _native


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    if arguments and arguments[0] in ("doctor", "matrix"):
        # What TensorFlow says of itself as it starts is no part of the answer.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        _native.backends(load=True)
    return _native.run_program(["python -m arraybridge", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
