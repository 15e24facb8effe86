"""``python -m tests.soak --minutes 30``: what was done; 1 and the seed if a promise broke."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.soak.run import soak

EXIT_BROKEN = 1


def main() -> int:
    """Soak and report; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, help="of an earlier soak, to repeat its disturbances")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where logs and databases stay")
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        return _soak(options.minutes, seed, options.keep)
    with tempfile.TemporaryDirectory(prefix="eb-soak-") as folder:
        return _soak(options.minutes, seed, Path(folder))


def _soak(minutes: float, seed: int, data_dir: Path) -> int:
    result = asyncio.run(soak(minutes * 60, seed, data_dir))
    for line in result.lines():
        print(line)
    return EXIT_BROKEN if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
