"""Errors that a user can cause, told in one sentence instead of a traceback."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something outside the code is wrong. The message says what, where, and what to do."""


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Decorates an entry point: a `UserError` becomes one line on stderr and exit code 1, so that DVC stops."""

    @functools.wraps(main)
    def run(*args, **kwargs) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            sys.exit(f"error: {error}")
        except BrokenPipeError:  # `... | head` closed our standard output: nothing is wrong
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return run
