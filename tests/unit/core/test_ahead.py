"""Threads that work ahead: results and errors in order, no more work than allowed, an end on request."""

import threading
import time

import pytest

import captioning.core.threads
from captioning.core.threads import in_order


def slow_first(item: int) -> int:
    time.sleep(0.02 if item % 4 == 0 else 0)
    if item == 13:
        raise ValueError("thirteen")
    return item * item


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_results_come_in_order_and_a_fault_in_its_place(threads):
    assert list(in_order(slow_first, range(12), threads, 5)) == [i * i for i in range(12)]
    seen = []
    with pytest.raises(ValueError, match="thirteen"):
        seen.extend(in_order(slow_first, range(20), threads, 5))
    assert seen == [i * i for i in range(13)]


def test_no_more_is_done_than_asked_for_and_a_caller_that_stops_is_obeyed():
    taken, done = [], []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(lambda i: done.append(i) or i, items(), 2, 6)
    assert [next(results), next(results)] == [0, 1]
    assert len(taken) == 8 and len(done) <= 8
    results.close()
    assert len(taken) == 8 and not [
        one for one in threading.enumerate() if one.name.startswith("ThreadPoolExecutor")
    ]


def test_what_waits_is_dropped_when_the_caller_stops():
    began, go = [], threading.Event()

    def work(item: int) -> int:
        began.append(item)
        if item:
            go.wait(20)
        return item

    results = in_order(work, range(100), 1, 10)
    assert next(results) == 0
    threading.Timer(0.2, go.set).start()  # after the caller has closed the iterator
    results.close()
    assert began in ([0], [0, 1])


def test_who_waits_long_is_told_for_what(monkeypatch, capsys):
    monkeypatch.setattr(captioning.core.threads, "SILENCE", 0.05)
    go = threading.Event()
    threading.Timer(0.2, go.set).start()
    results = in_order(
        lambda item: item == 1 and go.wait(20), range(3), 2, 4, name=lambda item: f"file {item}.jpg"
    )
    assert list(results) == [False, True, False]
    said = capsys.readouterr().err.splitlines()
    assert said and set(said) == {"file 1.jpg has given no answer for 0.05 s: still waiting"}


def test_every_thread_begins_with_start():
    here = threading.local()

    def start() -> None:
        here.ready = True

    assert all(in_order(lambda _: here.ready, range(20), 3, 4, start))
