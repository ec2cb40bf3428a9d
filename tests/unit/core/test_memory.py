"""Freed memory is used again; measured in a process of its own, which the setting is for."""

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
import captioning.core.malloc
if sys.argv[1] == "kept" and not captioning.core.malloc.keep_freed_memory():
    sys.exit(3)

def touch(size):
    block = bytearray(size)
    block[::4096] = b"x" * len(range(0, size, 4096))

touch(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("no glibc here")
    return int(done.stdout)


def test_a_large_block_is_used_again_without_fresh_pages():
    assert 20 * faults("kept") < faults("given back")  # 64 MB are 16,384 pages of 4 KB, or 32 of 2 MB
