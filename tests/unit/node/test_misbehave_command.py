"""The arguments of ``execbroker-node misbehave``."""

import argparse

import pytest

from node_stub.__main__ import main
from node_stub.misbehave.arguments import add_arguments
from node_stub.misbehave.catalogue import ENTRIES
from node_stub.misbehave.mixing import Share


def options_of(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_list_names_every_behaviour(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["misbehave", "--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == list(ENTRIES)


def test_only_this_machine_reaches_it_unless_it_is_told_to_listen_elsewhere() -> None:
    assert options_of("--as", "hung").listen.host == "127.0.0.1"
    assert str(options_of("--as", "hung", "--listen", "0.0.0.0:80").listen) == "0.0.0.0:80"


def test_the_arguments_are_read() -> None:
    options = options_of(
        *("--as", "slow:0.2,hung", "--delay-s", "0.5", "--offers", "3", "--seed", "7")
    )
    assert options.shares == (Share("slow", 0.2), Share("hung"))
    assert (options.delay_s, options.offers, options.seed) == (0.5, 3, 7)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--as", "nobody"),
        ("--as", "hung", "--list"),
        ("--as", "hung", "--offers", "0"),
        ("--as", "hung", "--offers", "many"),
        ("--as", "hung", "--delay-s", "0"),
        ("--as", "hung", "--delay-s", "nan"),
        ("--as", "hung", "--listen", "everywhere"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options_of(*arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_place_to_listen_that_is_none_is_refused_with_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        options_of("--as", "hung", "--listen", "everywhere")
    assert "--listen: must be HOST:PORT, for example" in capsys.readouterr().err
