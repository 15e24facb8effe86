"""What a job can do to a platform; the same of every platform."""

from enum import StrEnum
from typing import Final

LOG_BYTES: Final = 3_000_000
"""How much a job with a huge log writes to each of its logs."""

LOG_LIMIT: Final = 2**20
"""How much is kept of each."""

EXIT_CODE: Final = 3
"""What a job exits with that does not end well."""


class Behaviour(StrEnum):
    """One way for a job to behave."""

    ENDS_WELL = "ends well"
    ENDS_BADLY = "ends badly"
    LASTS_A_MOMENT = "lasts a moment"
    LASTS_A_WHILE = "lasts a while"
    LASTS = "lasts"
    STOPS_SLOWLY = "stops slowly"
    IS_STUBBORN = "is stubborn"
    TAKES_TOO_MUCH_MEMORY = "takes too much memory"
    WRITES_A_HUGE_LOG = "writes a huge log"
    HAS_A_BAD_COMMAND = "has a bad command"
    HAS_A_BAD_IMAGE = "has a bad image"
    HAS_A_BAD_NOTEBOOK = "has a bad notebook"
    HAS_NO_NOTEBOOK = "has no notebook"
    HAS_BAD_DATA = "has bad data"
