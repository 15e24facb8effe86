"""Where a service listens, as command lines and settings say it."""

import argparse
import re
from dataclasses import dataclass

_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s/]+):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a service listens; port 0 picks a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """Where to listen, from ``HOST:PORT`` (IPv6 in brackets).

    Raises
    ------
    ValueError
        It is not of that form.
    """
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080")
    return ListenAddress(match["host"].strip("[]"), int(match["port"]))


def listen_argument(text: str) -> ListenAddress:
    """Where to listen, as an argument of a command line.

    Raises
    ------
    argparse.ArgumentTypeError
        It is not of that form; argparse tells nobody what a ValueError says.
    """
    try:
        return parse_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
