"""Messages of an entry point about faults outside the code."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from captioning.core.errors import UserError, command


def said(error: Exception) -> str:
    @command
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code


def test_a_user_error_is_one_line():
    assert said(UserError("data.root is not a folder")) == "error: data.root is not a folder"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_cannot_be_written_is_one_line(number):
    text = said(OSError(number, os.strerror(number), "data/images.csv"))
    assert text.startswith(f"error: data/images.csv: {os.strerror(number)}; free some space")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_found_behind_what_torch_says():
    @command
    def main() -> None:
        with open("/dev/full", "wb") as file:
            torch.save({"weights": torch.zeros(10**6)}, file)

    with pytest.raises(SystemExit, match="No space left on device"):
        main()


def test_what_is_wrong_in_the_code_keeps_its_traceback():
    @command
    def main() -> None:
        raise KeyError("a slip")

    with pytest.raises(KeyError):
        main()


@pytest.mark.parametrize("lines", [3, 100_000])
def test_a_reader_that_goes_away_is_no_success(lines):
    """The last lines may still be in Python's own buffer when the command ends; they count, too."""
    program = f"""
from captioning.core.errors import command

@command
def main():
    for _ in range({lines}):
        print("a line of output")

main()
"""
    root = Path(__file__).parents[3]
    read, write = os.pipe()
    os.close(read)  # nobody reads
    with os.fdopen(write, "wb") as pipe:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=pipe, stderr=subprocess.PIPE, cwd=root, text=True
        )
    assert ended.returncode == 141 and ended.stderr == ""
