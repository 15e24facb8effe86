"""Who may try a database that is away, and who is refused at once."""

import pytest

from gateway.errors import StoreUnavailableError
from gateway.stores.outage import PAUSE_S, Outage


class Watch:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def is_refused(outage: Outage) -> bool:
    try:
        with outage.trying():
            return False
    except StoreUnavailableError:
        return True


def test_nobody_is_refused_while_it_answers() -> None:
    outage = Outage(Watch())
    with outage.trying():
        assert not is_refused(outage)
    outage.end()
    assert not outage.is_on


def test_one_may_try_at_once_and_only_one_at_a_time() -> None:
    outage = Outage(Watch())
    outage.begin("refused")
    with outage.trying():
        assert is_refused(outage)
    assert not is_refused(outage)


def test_after_a_try_in_vain_there_is_a_pause() -> None:
    watch = Watch()
    outage = Outage(watch)
    outage.begin("refused")
    with outage.trying():
        outage.begin("refused")
    assert is_refused(outage)
    watch.now += PAUSE_S
    assert not is_refused(outage)


def test_a_try_that_raises_lets_others_try() -> None:
    outage = Outage(Watch())
    outage.begin("refused")
    with pytest.raises(ValueError, match="x"), outage.trying():
        raise ValueError("x")
    assert not is_refused(outage)


def test_it_is_over_for_all_when_one_is_answered() -> None:
    outage = Outage(Watch())
    outage.begin("refused")
    with outage.trying():
        outage.begin("refused")
    outage.end()
    assert not is_refused(outage)
