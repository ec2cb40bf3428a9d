"""Errors that a user can cause: reported in one sentence, without a traceback."""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)
FAULTS_OF_DISKS = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM)
CLOSED_PIPE = 128 + signal.SIGPIPE  # exit code of a program whose reader closed the pipe


class UserError(Exception):
    """Something outside the code is wrong. The message says what, where, and what to do."""


@contextmanager
def opening(path: str | Path, what: str, advice: str) -> Iterator[None]:
    """Turns any error of a library that opens a file from elsewhere into a sentence.

    Missing and unreadable files get sentences of their own; all other faults are called damage. A full disk
    is left to `command`.

    Args:
        what: the expected kind of file, such as "a feature store".
        advice: what the user should do.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or path} is missing: {advice}") from None
    except BaseException as error:
        # Libraries in Rust raise PanicException.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{path} cannot be read ({error.strerror or error}): {advice}") from None
        raise UserError(
            f"{path} cannot be read, is damaged or is not {what} ({in_a_line(error)}): {advice}"
        ) from None


def in_a_line(error: BaseException) -> str:
    """An error's message in one line of limited length, with its type if the message says little."""
    text = " ".join(str(error).split())[:300]
    says_little = not text or isinstance(error, KeyError | IndexError)
    return f"{type(error).__name__} {text}".strip() if says_little else text


def shown(value: Any) -> str:
    """A value as Python writes it, cut to 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits, and 0xfff... can have them
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def counted(count: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{count} {noun}" + "s" * (count != 1)


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Decorates an entry point: a `UserError` becomes one line on stderr and exit code 1, so that DVC stops.

    If the reader of our output closes the pipe (`... | head -1`), the program ends quietly with exit code
    141, as shells do. The work may be unfinished, so this is not success.
    """

    @functools.wraps(main)
    def run(*args, **kwargs) -> None:
        try:
            main(*args, **kwargs)
            if sys.stdout:
                sys.stdout.flush()
        except UserError as error:
            sys.exit(f"error: {error}")
        except BrokenPipeError:
            # Without this, Python's own flush at exit fails.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(CLOSED_PIPE)
        except Exception as error:
            if fault := _of_disk(error):
                sys.exit(f"error: {fault}; free some space or change its permissions, and run this again")
            raise

    return run


def _of_disk(error: BaseException | None) -> str | None:
    """Describes the full disk or missing permission behind an error, in whatever form libraries report it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FAULTS_OF_DISKS:
            # HDF5's own message has eight lines.
            return f"{error.filename or 'writing a file'}: {os.strerror(error.errno)}"
        found = re.search(r"\(os error (\d+)\)", str(error))  # safetensors raises errors that are not OSError
        if found and int(found[1]) in FAULTS_OF_DISKS:
            return f"writing a file: {os.strerror(int(found[1]))}"
        error = error.__cause__ or error.__context__
    return None
