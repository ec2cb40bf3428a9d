"""Shared by the tests that start processes."""

import gzip

import pytest

from captioning.metrics.meteor import Meteor

PARAPHRASES = ("0.5", "big", "small"), ("0.3", "runs on", "sits on"), ("0.4", "blue", "red")


@pytest.fixture(scope="module")
def meteor(tmp_path_factory):
    """METEOR with a table of three paraphrases. Loading the whole table takes it 5 s."""
    table = tmp_path_factory.mktemp("meteor") / "paraphrases.gz"
    table.write_bytes(gzip.compress("".join(f"{part}\n" for one in PARAPHRASES for part in one).encode()))
    with Meteor(table) as running:
        yield running
