"""The process that fuzzes: ``python -m tests.fuzz.worker MODULE [libFuzzer's options]``.

Apart, since libFuzzer ends the process when it is done or has found something.
"""

import importlib
import sys
from typing import Any, Final

_INSTRUMENTED: Final = ("gateway", "node_stub")
"""Whose branches are counted."""


def main() -> None:
    """Instrument, then fuzz; never returns."""
    # Not on every platform, and only this process needs it.
    atheris: Any = importlib.import_module("atheris")
    module, options = sys.argv[1], sys.argv[2:]
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        # Only what is imported in here is instrumented.
        target = importlib.import_module(module)
    atheris.Setup([sys.argv[0], *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
