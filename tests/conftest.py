"""Shared by all tests. Importing `captioning` first sets OpenMP's waiting policy before torch loads."""

import functools
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test never waits for the network
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # one worker per core, and the processes that its tests start
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests use the processor's numbers, also on a machine with a GPU
sys.path.insert(0, str(Path(__file__).parent.parent))

import captioning  # noqa: F401
from captioning.core.device import seed_everything
from captioning.core.errors import UserError
from captioning.core.java import find_java

# Hypothesis tries the same examples each time, however slow the machine is.
STEADY = {"derandomize": True, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("steady", **STEADY)
settings.load_profile("steady")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """A test draws the same random numbers whichever tests ran before it."""
    seed_everything(0)


@functools.cache
def has_java() -> bool:
    try:
        return bool(find_java())
    except UserError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """On a machine without Java, a test that fails because it needs one is skipped."""
    report = yield
    if report.failed and "no Java: " in report.longreprtext and not has_java():
        report.outcome = "skipped"
        report.longrepr = str(item.path), item.location[1], "needs Java, and none runs on this machine"
    return report


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A real browser, for all tests of a file."""
    from browser import Browser

    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()
