"""Where the client's token comes from."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.cli.arguments import parser
from gateway.cli.running import UsageError, client_of, token_of
from gateway.cli.tokens import TokenError, TokenFile, token_source


def given(environ: Mapping[str, str], *argv: str) -> str | None:
    """The token of a command line."""
    source = token_of(parser().parse_args(["nodes", *argv]), environ)
    return None if source is None else source()


def test_a_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    account = {"EXECBROKER_USERNAME": "alice"}
    assert given({}) is None
    assert given(account) is None
    assert given(account | {"EXECBROKER_TOKEN": "usual"}) == "usual"
    assert given({"EXECBROKER_TOKEN_FILE": str(file)}) == "from-file"
    assert given({"EXECBROKER_TOKEN": "usual"}, "--token-file", str(file)) == "from-file"
    assert given({"EXECBROKER_TOKEN": "usual", "OTHER": "x.y"}, "--token-env", "OTHER") == "x.y"


def test_an_account_that_an_argument_names_goes_before_a_usual_token() -> None:
    assert given({"EXECBROKER_TOKEN": "usual"}, "--username", "alice") is None
    with pytest.raises(UsageError, match="--username"):
        given({"OTHER": "x"}, "--username", "alice", "--token-env", "OTHER")


def test_a_token_is_no_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["nodes", "--token", "secret"])
    assert "unrecognized" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "two words", "se\x00cret", "sécret", "secret\nX-More: y"])
def test_what_no_header_can_carry_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    for variable, path in (("OTHER", None), (None, file)):
        with pytest.raises(TokenError) as caught:
            token_source(variable, path, {"OTHER": text})
        assert not text or text not in str(caught.value)
    with pytest.raises(UsageError):
        client_of(parser().parse_args(["nodes", "--token-file", str(file)]), {})


def test_a_file_that_is_replaced_gives_the_new_token_and_meanwhile_the_old(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(TokenError):
        TokenFile(file)
    file.write_text("one")
    source = TokenFile(file)
    file.unlink()
    assert source() == "one"
    file.write_text("two\n")
    assert source() == "two"
