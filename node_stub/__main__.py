"""The command ``execbroker-node``."""

import sys
from collections.abc import Sequence

from gateway.httpkit import garbage
from node_stub.arguments import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = parser().parse_args(arguments)
    # Whoever asks for help, or has made a mistake, does not wait for what a command needs.
    if options.command == "misbehave":
        from node_stub.misbehave import command  # noqa: PLC0415 - a command's own modules

        return command.run(options)
    with garbage.let_lie():
        from node_stub import commands  # noqa: PLC0415 - likewise

        return commands.run(options)


if __name__ == "__main__":
    sys.exit(main())
