"""Schedules as people read them, and the token by which one is played again."""

from tests.model.explore import Choices, Finding
from tests.model.schedule import Outcome

_SHOWN = 80
"""Events of a schedule that are shown: what does not come to rest repeats itself."""


class TokenError(ValueError):
    """It names no schedule."""

    def __init__(self, token: str) -> None:
        super().__init__(f"{token!r} is no schedule such as 'one accept@2.4,7.1'")


def token_of(scenario: str, choices: Choices) -> str:
    """What ``--replay`` takes: the scenario, and which move was made where."""
    return f"{scenario}@{','.join(f'{step}.{number}' for step, number in choices)}"


def from_token(token: str) -> tuple[str, Choices]:
    """The scenario and the choices that a token stands for.

    Raises
    ------
    TokenError
        It was not made by ``token_of``.
    """
    scenario, at, rest = token.partition("@")
    try:
        parts = [part.split(".") for part in rest.split(",") if part]
        choices = tuple((int(step), int(number)) for step, number in parts)
    except ValueError as error:
        raise TokenError(token) from error
    if not at:
        raise TokenError(token)
    return scenario, choices


def shown(outcome: Outcome, choices: Choices) -> str:
    """A schedule, one event a line; what departs from the ordinary course has a mark."""
    departs = {step for step, _ in choices}
    lines = [
        f"{'>' if step in departs else ' '} {step:3} {event}"
        for step, event in enumerate(outcome.events[:_SHOWN])
    ]
    if len(outcome.events) > _SHOWN:
        lines.append(f"      ... {len(outcome.events) - _SHOWN} more")
    lines += [f"      {line}" for line in outcome.told]
    lines.append(f"      {'BROKEN: ' + outcome.broken if outcome.broken else 'kept'}")
    return "\n".join(lines)


def report(finding: Finding) -> str:
    """A schedule that breaks a promise, and how to play it again."""
    token = token_of(finding.scenario, finding.choices)
    return (
        f"{finding.scenario}: {finding.outcome.broken}\n"
        f"{shown(finding.outcome, finding.choices)}\n"
        f"  python -m tests.model --replay '{token}'"
    )
