"""The command ``execbroker-gateway``: serve, check the settings, print the API."""

import argparse
import sys

from gateway.arguments import parser
from gateway.httpkit import garbage


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is 2 for settings that cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(given, argparse.Namespace(arguments=given))
    with garbage.let_lie():
        # Whoever asks for help, or has made a mistake, does not wait for all of it.
        from gateway import commands  # noqa: PLC0415 - a command's own modules

        return commands.run(options)


if __name__ == "__main__":
    sys.exit(main())
