"""Pipelines run real `dvc` and real stages, in forked processes."""

import os

import pytest
import warm
from project_copy import ENV


@pytest.fixture(scope="session", autouse=True)
def forked_programs():
    """Puts the `dvc` and the `python` of `warm` before the real ones, for all tests of this folder."""
    with warm.commands() as folder:
        ENV["PATH"] = f"{folder}{os.pathsep}{ENV['PATH']}"
        yield
