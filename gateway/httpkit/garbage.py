"""The look for garbage, while a program starts and while it serves.

What is imported and built at the start is there to stay. To look at all of it again and again,
while it grows, is a tenth of what a start costs.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

GC_THRESHOLD: Final = 50_000
"""Objects made before a look for garbage. The usual 700 are made many times over in one request,
all of them still needed: at that, looking takes a tenth of the time.
"""


@contextmanager
def let_lie() -> Iterator[None]:
    """No look for garbage until the end of it, or until ``has_started``."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def has_started() -> None:
    """All there is now is kept until the end of the program, and looked at no more."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()
