"""Errors that a user can cause, told in one sentence instead of a traceback."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable

FAULTS_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
CLOSED_PIPE = 128 + signal.SIGPIPE  # exit code of a program whose reader went away


class UserError(Exception):
    """Something outside the code is wrong. The message says what, where, and what to do."""


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Decorates an entry point: a `UserError` becomes one line on stderr and exit code 1, so that DVC stops.

    Where the reader of our output went away (`... | head -1`), it ends quietly with 141, as the shell names it: the
    work may be unfinished, so it is no success.
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
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own flush at exit complains
            sys.exit(CLOSED_PIPE)
        except Exception as error:
            if fault := _of_disk(error):
                sys.exit(f"error: {fault}; free some space or change its permissions, and run this again")
            raise

    return run


def _of_disk(error: BaseException | None) -> str | None:
    """The full disk or missing permission that is behind an error, however libraries put it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FAULTS_OF_DISKS:
            return f"{error.filename or 'writing a file'}: {error.strerror}"
        error = error.__cause__ or error.__context__
    return None
