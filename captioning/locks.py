"""One writer at a time: `dvc` may be killed and started again while the stage that it ran works on."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_writer(path: str | Path) -> Iterator[None]:
    """Waits until no other process writes `path`, a file or a folder, and keeps others waiting meanwhile.

    A POSIX lock on a neighbour, `path.lock`: the system drops it when the process ends, in whatever way, and
    processes forked from this one do not inherit it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "a+") as file:
        tries = 0
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
            tries += 1
            if tries == 2:  # at the first the holder may not have written its number yet
                file.seek(0)
                holder = file.read().strip()
                print(f"waiting: process {holder} is writing {path} (`kill {holder}` stops it)", flush=True)
            time.sleep(0.2)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
