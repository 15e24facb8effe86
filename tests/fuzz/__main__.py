"""``python -m tests.fuzz --seconds 600``: every parser in turn; 1 if a promise broke."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import fuzz
from tests.fuzz.target import module_of, names

EXIT_BROKEN = 1


def main() -> int:
    """Fuzz and report; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", action="append", choices=names(), help="only this; repeatable")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where inputs stay to go on from")
    options = parser.parse_args()
    chosen = options.target or names()
    seconds = max(1, options.seconds // len(chosen))
    if options.keep is not None:
        return _fuzz_all(chosen, seconds, options.keep)
    with tempfile.TemporaryDirectory(prefix="eb-fuzz-") as folder:
        return _fuzz_all(chosen, seconds, Path(folder))


def _fuzz_all(chosen: list[str], seconds: int, folder: Path) -> int:
    broken = []
    for name in chosen:
        outcome = fuzz(name, module_of(name), seconds, folder / name)
        print(outcome.line(), flush=True)
        if outcome.finding is not None:
            broken.append(outcome)
    for outcome in broken:
        print(f"\n{outcome.log}\n\n{outcome.as_test()}")
    return EXIT_BROKEN if broken else 0


if __name__ == "__main__":
    sys.exit(main())
