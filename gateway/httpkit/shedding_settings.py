"""When requests are turned away because there is too much to do, as a settings file says it."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.httpkit.settings import SettingsSchema

WAIT_SHARE: Final = 0.25
"""Of the time that a client waits, so much at most goes by before anything is done for it."""


@dataclass(frozen=True, slots=True)
class SheddingSettings:
    """When requests are turned away with 503 and ``Retry-After``.

    At most ``max_heavy`` requests for offers are answered at the same time, and ``max_requests`` of
    any sort. ``start_heavy`` are let in at first, since a burst comes before the loop can be late;
    that doubles each time it proves to be no trouble, until there is trouble once (slow start, RFC
    5681 §3.1). When the event loop is late by more than ``high_lag_s`` fewer are let in, until it
    is late by less than ``low_lag_s``.

    ``max_waiting`` requests for offers that find no room wait their turn, for ``max_wait_s`` each,
    half of that while the queue does not get shorter, and never for more than a quarter of the time
    that the client waits. 0 of either: none waits.

    Requests for offers take ``answer_s`` at most, as far as nobody says otherwise. No more are let
    in than can be paid for in that time, by what one of them costs.
    """

    max_heavy: int = 256
    start_heavy: int = 16
    max_waiting: int = 64
    max_wait_s: float = 1.0
    answer_s: float = 5.0
    max_requests: int = 4096
    high_lag_s: float = 0.1
    low_lag_s: float = 0.05


class SheddingSchema(SettingsSchema):
    """Section ``shedding``."""

    settings_class: ClassVar[type] = SheddingSettings

    max_heavy = fields.Integer(strict=True, validate=validate.Range(min=8, max=100_000))
    start_heavy = fields.Integer(strict=True, validate=validate.Range(min=4, max=100_000))
    max_waiting = fields.Integer(strict=True, validate=validate.Range(min=0, max=100_000))
    max_wait_s = fields.Float(validate=validate.Range(min=0, max=60))
    max_requests = fields.Integer(strict=True, validate=validate.Range(min=8, max=1_000_000))
    high_lag_s = fields.Float(validate=validate.Range(min=0.01, max=60))
    low_lag_s = fields.Float(validate=validate.Range(min=0.005, max=60))

    @validates_schema
    def check_lags(self, data: dict[str, Any], **_: Any) -> None:
        """Between the two marks nothing changes; without a gap the limit would flutter."""
        usual = self.settings_class()
        low_s = data.get("low_lag_s", usual.low_lag_s)
        high_s = data.get("high_lag_s", usual.high_lag_s)
        if low_s >= high_s:
            raise ValidationError("must be less than shedding.high_lag_s", "low_lag_s")
