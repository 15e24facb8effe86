"""``execbroker``: ask a broker for offers, take one, follow it."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from gateway.cli.arguments import parser


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code."""
    arguments = parser().parse_args(argv)
    # Whoever asks for help, or has made a mistake, does not wait for what the commands need.
    from gateway.cli.running import carry_out  # noqa: PLC0415 - the commands' own modules

    return carry_out(arguments)


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
