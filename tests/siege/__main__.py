"""``python -m tests.siege``: what was done; 1 and the seed if a promise broke."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.siege.run import FULL, SHORT, Plan, besiege

EXIT_BROKEN = 1


def main() -> int:
    """Besiege and report; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.siege", description=__doc__)
    parser.add_argument("--short", action="store_true", help="as in CI")
    parser.add_argument("--seed", type=int, help="of an earlier siege, to repeat its disturbances")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where logs and databases stay")
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    plan = SHORT if options.short else FULL
    print(f"seed {seed}", flush=True)
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        return _besiege(plan, seed, options.keep)
    with tempfile.TemporaryDirectory(prefix="eb-siege-") as folder:
        return _besiege(plan, seed, Path(folder))


def _besiege(plan: Plan, seed: int, data_dir: Path) -> int:
    result = asyncio.run(besiege(plan, seed, data_dir))
    for line in result.lines():
        print(line)
    return EXIT_BROKEN if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
