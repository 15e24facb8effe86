"""Files of this machine, opened only below the roots that the site offers.

Every call blocks: call it in a thread.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import PurePath

from node_stub.staging import reasons
from node_stub.staging.allowlist import is_below
from node_stub.staging.errors import RefusedError, SourceError


def open_below(path: str, roots: Sequence[str]) -> int:
    """A descriptor to read a regular file with, which whoever asks for it closes.

    Links are followed as long as what they lead to lies in a root. The way is then walked from the
    root on, one directory after the other and without following any link: one that is put there in
    between leads nowhere.

    Raises
    ------
    RefusedError
        It lies in no root.
    SourceError
        It is not there, cannot be read, or is no regular file.
    """
    where = f"file://{path}"
    try:
        real = os.path.realpath(path)
        for root in roots:
            real_root = os.path.realpath(root)
            if is_below(real, real_root):
                return open_beneath(real_root, PurePath(real).relative_to(real_root).parts)
    except OSError as error:  # of finding where it leads, too: links may vanish meanwhile
        raise SourceError(f"cannot be read: {error.strerror}") from error
    raise RefusedError(reasons.FILE_REFUSED, location=where)


def open_regular(name: str, folder: int) -> int:
    """A descriptor for a regular file in an open directory, links not followed.

    Raises
    ------
    OSError
        It cannot be opened; ``ELOOP`` is a link.
    SourceError
        It is something else, which has not been waited for.
    """
    # A pipe or a device would block whoever opens it to read.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    file = os.open(name, flags, dir_fd=folder)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise SourceError("is not a regular file")


def open_beneath(root: str, parts: Sequence[str]) -> int:
    """A descriptor for a regular file below a directory; no step on the way may be a link.

    Raises
    ------
    OSError
        It cannot be opened.
    SourceError
        It is no regular file.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(root, flags)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags, dir_fd=folder)
            os.close(folder)
            folder = below
        return open_regular(parts[-1], folder)
    finally:
        os.close(folder)
