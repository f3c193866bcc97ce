"""Reads the file: bytes that are text, or a message that says why not."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from tether.config.problem import Flaw, Mark

LARGEST = 1 << 20
"""Bytes of a configuration file."""

_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML 1.2 does not allow in a file, written as it is."""


def read_source(path: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        Flaw: it cannot be read, or is no text.
    """
    text = decode(read_bytes(path, LARGEST))
    if found := _NOT_TEXT.search(text):
        what = "a NUL byte" if found[0] == "\0" else "a control character"
        raise Flaw(f"has {what} here; is it a text file? remove it", mark=mark_at(text, found.start()))
    return text


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes.

    Raises:
        Flaw: it cannot be read; the message says why, not which.
    """
    try:
        # Looked at first: to open a pipe that nobody writes to would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Flaw(_NO_FILE[path.is_dir()])
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise Flaw(_why(error)) from None
    if len(content) > most:
        raise Flaw(f"is larger than {most // 1024} KiB; is it the right file?")
    return content


_NO_FILE = {True: "is a directory; name the file in it", False: "is not a regular file; write it to one"}


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the path"
    if isinstance(error, PermissionError):
        return f"may not be read by this user ({_user()}); change its owner or its mode"
    if isinstance(error, NotADirectoryError):
        return "a part of this path is a file, not a directory; check the path"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read: {os.strerror(error.errno)}"
    return "this is no path; check it"


def _user() -> str:
    return f"uid {os.getuid()}" if hasattr(os, "getuid") else "the one who runs this"


def decode(content: bytes) -> str:
    """Return UTF-8 as text, without a byte order mark.

    Raises:
        Flaw: it is not UTF-8; the message says on which line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Its start counts from behind a byte order mark.
        before = content.removeprefix(b"\xef\xbb\xbf")[: error.start]
        text = before.decode("utf-8", errors="replace")
        raise Flaw("is not UTF-8 here; save the file as UTF-8", mark=mark_at(text, len(text))) from None


def mark_at(text: str, index: int) -> Mark:
    """Return the place of a character; lines end where YAML ends them."""
    before = re.split(r"\r\n|[\n\r]", text[:index])
    return Mark(len(before), len(before[-1]) + 1)
