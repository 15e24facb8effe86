"""What the README lists is what there is."""

from pathlib import Path

from gateway.cli.arguments import parser
from gateway.domain.reasons import published

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_has_every_reason_code_as_it_is() -> None:
    text, reasons = README.read_text(), published()
    listed = [line for line in text.splitlines() if line.startswith("| `") and line.count("|") == 4]
    expected = [
        f"| `{reason['code']}` | {reason['applies_to']} | {reason['text'].replace('|', '/')} |"
        for reason in reasons["reasons"]
    ]
    assert f"Reason codes, version {reasons['version']} " in text
    assert [line for line in expected if line not in listed] == []


def test_every_command_that_the_readme_shows_exists() -> None:
    shown = {
        line.split()[1]
        for line in README.read_text().splitlines()
        if line.startswith("execbroker ")
    }
    help_text = parser().format_help()
    assert shown
    assert [command for command in sorted(shown) if command not in help_text] == []
