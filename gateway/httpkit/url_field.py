"""URLs in settings."""

import re
from typing import Any, Final

from marshmallow import ValidationError, fields

# ASCII's letters and what follows U+00A0 in the basic plane. Said by what it is not: compiling a
# set of so many takes ten times as long.
_NO_LETTER = r"\x00-,./:-@\[-`{-\xa0\U00010000-\U0010ffff"
_ALPHA, _ALNUM, _INNER = rf"[^{_NO_LETTER}0-9-]", rf"[^{_NO_LETTER}-]", rf"[^{_NO_LETTER}]"
_LABEL = rf"{_ALNUM}(?:{_INNER}{{0,61}}{_ALNUM})?"
_HOST = (
    rf"(?:(?:{_LABEL}\.)+(?:{_ALPHA}{{2,6}}|{_INNER}{{2,}})\.?"
    rf"|{_LABEL}\.?|\d{{1,3}}(?:\.\d{{1,3}}){{3}}|\[[A-Fa-f0-9]*:[A-Fa-f0-9:]+\])"
)
_USER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*@"
_URL: Final = re.compile(rf"[Hh][Tt][Tt][Pp][Ss]?://(?:{_USER})?{_HOST}(?::\d+)?(?:/?|[/?#]\S+)\Z")


class HttpUrlField(fields.String):
    """An absolute http or https URL, whose host may be a single name.

    What marshmallow's own field takes with ``require_tld=False``. The regular expression of that
    one ignores case in all of Unicode, and takes longer to compile than settings to be read.
    """

    default_error_messages = {"invalid": "Not a valid URL."}  # noqa: RUF012  # not changed

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        # Before those that were given: they may rely on it.
        self.validators.insert(0, self._check)

    def _check(self, text: str) -> None:
        if _URL.match(text) is None:
            raise self.make_error("invalid")


class PlainUrlField(HttpUrlField):
    """One with nothing behind its path and nobody before its host; the last slash is left off."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if "?" in text or "#" in text:
            raise ValidationError("must end with its path: leave out all from ? or # on")
        if "@" in text.partition("://")[2].partition("/")[0]:
            raise ValidationError("must have no user in it: other settings are for credentials")
        return text.rstrip("/")
