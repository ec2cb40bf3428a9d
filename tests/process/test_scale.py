"""The benchmark of training input runs both of its sides, each in a process of its own."""

import os
import re

import pytest

from benchmarks import scale, scale_tables
from benchmarks.turns import working_in
from captioning.core.work import NAMED, work_folder


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_a_working_folder_is_named_inside_the_block_only(before, monkeypatch, tmp_path):
    monkeypatch.delenv(NAMED, raising=False)
    if before:
        monkeypatch.setenv(NAMED, before)
    with pytest.raises(ValueError, match="stops"), working_in(tmp_path):
        assert work_folder() == tmp_path
        raise ValueError("stops")
    assert os.environ.get(NAMED) == before


def test_both_inputs_are_measured():
    memory, disk = scale.input_rows(2000, 16)
    for name, line in (("memory", memory), ("disk", disk)):
        assert re.fullmatch(
            rf"\| 2,000 \| {name} (\| [\d,]+ rows/s ){{3}}\| [\d.]+ us a row \| [\d,]+ MB \|", line
        )
        assert not re.search(r" 0 (rows|MB)", line)


def test_made_up_captions_are_the_same_each_time():
    parts = list(scale.captions_of(25_000))
    assert [len(part) for part in parts] == [10_000, 10_000, 5_000] and parts == list(
        scale.captions_of(25_000)
    )


def test_a_training_stage_is_measured_by_part():
    head, rule, *parts = "\n".join(scale_tables.rows(1200, 2, limit=2000)).split("\n")
    assert len(parts) == 7 and all(line.startswith("| 1,200 | 2,400 | ") for line in parts)
    assert all(line.count("|") == rule.count("|") == head.count("|") for line in parts)
