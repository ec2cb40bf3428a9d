"""One short file a stage of dvc.yaml. Each is run as `python -m stages.NAME` and calls `captioning` and `models`."""

import functools
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from captioning.core.errors import command
from captioning.core.files import remove_stale_temporaries
from captioning.core.malloc import keep_freed_memory
from captioning.core.paths import TIMES


def stage(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates a stage's `main`: errors told as `captioning.core.errors.command` does, what killed writers left
    removed, and the time taken written down."""

    @command
    @functools.wraps(main)
    def run() -> None:
        start = time.monotonic()
        keep_freed_memory()
        remove_stale_temporaries()
        main()
        program = Path(sys.argv[0])
        if program.parent.name == "stages":  # not when called from elsewhere
            TIMES.mkdir(parents=True, exist_ok=True)
            ended = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            taken = {"seconds": round(time.monotonic() - start, 1), "ended": ended}
            (TIMES / f"{'@'.join([program.stem, *sys.argv[1:]])}.json").write_text(json.dumps(taken) + "\n")

    return run
