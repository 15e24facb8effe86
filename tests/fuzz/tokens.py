"""What parsers have stumbled over elsewhere, for the fuzzer to write into its inputs."""

from pathlib import Path
from typing import Final

from gateway.wire import kinds
from gateway.wire.phases import SessionPhase

_TROUBLE: Final = (
    # numbers: beyond a double, beyond 64 bits, no number at all, an integer in disguise
    *("1e400", "-1e400", "NaN", "Infinity", "2.0", "-0", "9223372036854775808", "1" * 5000),
    # strings: half a surrogate pair, NUL, byte order marks, what is no UTF-8
    *("\\ud800", "\\u0000", "\ufeff", "\x00", "\udcff\udcfe", "\udcc0\udc80"),
    # structure: nesting, aliases, merges, tags, entities, a name twice
    *("[" * 70, '{"a":' * 70, "&a [*a]", "<<: ", "!!float ", "%TAG ! a\n", "--- ", "? "),
    *("<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "<![CDATA[", "<entry name='", " type='null'"),
    *('"a":1,"a":2', "null", "true", "{}", "[]"),
    # times
    *("2026-02-30", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60Z", "P1Y", "-PT0S", "P1DT"),
    *("24:00", "Europe/London", "../../etc/passwd", "PT1.5H", "/P999999999999999999D"),
    # HTTP
    *("Transfer-Encoding: chunked\r\n", "Content-Length: 1\r\n", "\r\n\r\n", "\r\n 0", "0\r\n\r\n"),
    *("HTTP/1.1 100 Continue\r\n\r\n", "FFFFFFFF\r\n", "Connection: close\r\n"),
    # names of data
    *("ivo://skao.int/data?", "%2e%2e%2f", "//", "@", "[::ffff:127.0.0.1]", "0x7f000001", "\\"),
)


def write_dictionary(path: Path) -> None:
    """All of it as libFuzzer reads it."""
    texts = (*_TROUBLE, *(phase.value for phase in SessionPhase), kinds.SCHEDULED_SESSION)
    lines = []
    for text in texts:
        raw = text.encode("utf-8", "surrogateescape")
        lines.append('"' + "".join(f"\\x{byte:02x}" for byte in raw) + '"')
    path.write_text("\n".join(lines) + "\n", "ascii")
