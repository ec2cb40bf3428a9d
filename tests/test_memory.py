"""Freed memory is used again; measured in a process of its own, which the setting is for."""

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
import captioning.memory
if sys.argv[1] == "kept" and not captioning.memory.keep_freed_memory():
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


RESIDENT = """
import sys, torch
from captioning.memory import keep_freed_memory, return_freed_memory
if not keep_freed_memory():
    sys.exit(3)
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
blocks = [torch.ones(1 << 20) for _ in range(64)]  # 256 MB
held = resident()
del blocks[::2]
freed = resident()
return_freed_memory()
print(held, freed, resident())
"""


def test_what_lies_free_between_other_blocks_is_given_back():
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("no glibc here")
    held, freed, returned = map(int, done.stdout.split())
    assert held - freed < 16 << 20
    assert freed - returned > 100 << 20
