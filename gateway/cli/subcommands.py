"""How commands are added to the parser, each with the options that all have."""

import argparse
from collections.abc import Callable

AddCommand = Callable[[str, str], argparse.ArgumentParser]
"""Adds a command by its name and what it does."""


def adder(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> AddCommand:
    """Adds to these commands, with the ``common`` options."""

    def add(name: str, does: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=does, parents=[common], allow_abbrev=False)

    return add


def group(
    parser: argparse.ArgumentParser, dest: str, metavar: str, common: argparse.ArgumentParser
) -> AddCommand:
    """Adds commands below the one of ``parser``; which was given is told as ``dest``."""
    return adder(parser.add_subparsers(dest=dest, required=True, metavar=metavar), common)


def names(text: str) -> list[str]:
    """The names in ``A,B``, for an option that takes several."""
    return [name.strip() for name in text.split(",") if name.strip()]
