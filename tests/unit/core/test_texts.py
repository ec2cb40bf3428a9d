"""Columns of texts, in memory and in files, and the index of their places."""

import os

import numpy as np
import pytest

from captioning.core import texts
from captioning.core.errors import UserError
from captioning.core.texts import Chosen, Grouped, Index, Texts, runs

SAID = ["a dog", "", "Ein Café", "狗", "a dog", "lone \ud800 half", "x" * 100, "\n"] * 3


@pytest.fixture(params=[None, 0, 60], ids=["in memory", "in files", "moved to files"])
def column(request, tmp_path, monkeypatch) -> Texts:
    monkeypatch.setenv("CAPTIONING_WORK", str(tmp_path / "work"))
    if request.param is not None:
        monkeypatch.setattr(texts, "SPILL", request.param)
    monkeypatch.setattr(texts, "AT_ONCE", 5)
    found = Texts(iter(SAID))
    assert (tmp_path / "work").exists() == (request.param is not None)
    return found


def test_a_column_is_a_sequence_of_its_texts(column):
    assert list(column) == SAID and len(column) == len(SAID)
    assert [column[i] for i in (0, 5, -1)] == [SAID[0], SAID[5], SAID[-1]]
    assert (column[3:9], column[-2:], column[9:3], column[:]) == (SAID[3:9], SAID[-2:], [], SAID)
    with pytest.raises(IndexError):
        column[len(SAID)]
    assert list(Texts()) == [] and Texts()[:] == []


def test_a_column_in_files_leaves_no_name_behind(column, tmp_path):
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


def test_outside_a_project_no_working_folder_appears(tmp_path, monkeypatch):
    monkeypatch.delenv("CAPTIONING_WORK", raising=False)
    monkeypatch.setattr(texts, "SPILL", 0)
    monkeypatch.chdir(tmp_path)
    assert list(Texts(SAID)) == SAID and not list(tmp_path.iterdir())
    (tmp_path / "params.yaml").touch()
    assert list(Texts(SAID)) == SAID and (tmp_path / ".work/tmp").is_dir()


def test_a_cut_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONING_WORK", str(tmp_path))
    monkeypatch.setattr(texts, "SPILL", 0)
    column = Texts(SAID)
    os.truncate(column._letters._file.fileno(), 10)
    with pytest.raises(UserError, match="a temporary file is cut short: start this command again"):
        list(column)


def test_chosen_texts_and_lists_of_neighbours(column):
    places = np.array([7, 8, 2, 2, 0])
    chosen, ends = Chosen(column, places), np.array([0, 2, 2, 5])
    assert list(chosen) == chosen[:] == [SAID[i] for i in places]
    far = np.array([0, 1, 23, 22])
    assert Chosen(column, far)[:] == [SAID[i] for i in far] and Chosen(column, far[:0])[:] == []
    assert chosen[1:3] == [SAID[8], SAID[2]] and chosen[-1] == SAID[0]
    lists = [SAID[0:2], [], SAID[2:5]]
    grouped = Grouped(column, ends)
    assert list(grouped) == grouped[:] == lists and grouped[-1] == lists[2] and grouped[1:] == lists[1:]
    assert grouped[2:1] == []
    assert list(Chosen(grouped, np.array([2, 0]))) == [lists[2], lists[0]]
    assert list(Grouped.of(iter(lists * 4))) == lists * 4 and list(Grouped.of([])) == []


def test_an_index_finds_the_first_of_equal_texts(column):
    index = Index(column)
    wanted = ["x" * 100, "a dog", "a cat", "lone \ud800 half"]
    assert index.find(wanted).tolist() == [6, 0, -1, 5]
    assert index.counts(wanted).tolist() == [3, 6, 0, 3]
    assert index.firsts().tolist() == [0, 1, 2, 3, 5, 6, 7] and len(index.firsts()) == 7
    assert index.repeats().tolist() == [i for i in range(len(SAID)) if i not in index.firsts()]
    assert Index([]).find(["a"]).tolist() == [-1] and Index([]).counts(["a"]).tolist() == [0]
    assert len(Index([]).firsts()) == len(Index([]).repeats()) == 0 and index.find([]).tolist() == []


def test_runs_cover_the_places_in_their_order():
    places = np.array([3, 4, 5, 9, 8, 8, 9])
    found = list(runs(places))
    assert np.concatenate([np.arange(run.start, run.stop) for run in found]).tolist() == places.tolist()
    assert len(found) == 4 and list(runs(places[:0])) == []
