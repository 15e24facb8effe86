"""Which codec a client wants: ``Content-Type`` for what it sends, ``Accept`` for what it gets."""

from typing import Final

from gateway.wire.codecs import json, xml, yaml
from gateway.wire.codecs.base import Codec

CODECS: Final = (json.CODEC, xml.CODEC, yaml.CODEC)
"""In order of preference where a client has none."""

JSON: Final = json.CODEC
"""The default."""

XML: Final = xml.CODEC
"""On request."""

YAML: Final = yaml.CODEC
"""On request."""

_SUFFIXES: Final = {"+json": json.CODEC, "+xml": xml.CODEC, "+yaml": yaml.CODEC}


def _bare(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def codec_for_content_type(content_type: str) -> Codec | None:
    """The codec for a ``Content-Type``, parameters ignored; None if there is none.

    Structured suffixes count: ``application/vnd.example+json`` is JSON.
    """
    bare = _bare(content_type)
    for codec in CODECS:
        if bare == codec.media_type or bare in codec.accepts:
            return codec
    return next((codec for suffix, codec in _SUFFIXES.items() if bare.endswith(suffix)), None)


def _quality(parameters: list[str]) -> float:
    """The weight of a media range (RFC 9110 §12.4.2): an unreadable one is no wish."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            digits = value.strip()
            if not digits.isascii() or not digits.replace(".", "", 1).isdigit():
                return 0.0
            return min(float(digits), 1.0)
    return 1.0


def _match(media_range: str, codec: Codec) -> int:
    """How closely a media range names a codec: 0 is not at all, 3 is exactly."""
    if media_range == "*/*":
        return 1
    kind, _, subtype = media_range.partition("/")
    if subtype == "*":
        names = (codec.media_type, *codec.accepts)
        return 2 if any(name.startswith(kind + "/") for name in names) else 0
    return 3 if codec_for_content_type(media_range) is codec else 0


def codec_for_accept(header: str | None) -> Codec | None:
    """The codec an ``Accept`` header likes best; None if it allows none of ours.

    No header, an empty one and ``*/*`` mean JSON. For each codec the closest range counts
    (RFC 9110 §12.5.1); of equal weights the one named first in the header wins, then JSON.
    """
    if header is None or not header.strip():
        return JSON
    ranges = []
    for part in header.split(","):
        media_range, *parameters = part.split(";")
        if media_range.strip():
            ranges.append((media_range.strip().lower(), _quality(parameters)))
    best: tuple[float, int, int] | None = None
    chosen = None
    for rank, codec in enumerate(CODECS):
        matches = [
            (_match(name, codec), -place, weight) for place, (name, weight) in enumerate(ranges)
        ]
        closeness, place, weight = max(matches, default=(0, 0, 0.0))
        if not closeness or not weight:
            continue
        wish = (weight, place, -rank)
        if best is None or wish > best:
            best, chosen = wish, codec
    return chosen
