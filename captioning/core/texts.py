"""Columns of texts that may be larger than memory, and an index to find a text's place in one.

A Python string takes 50 bytes of memory beside its letters, 8 more in a list, 100 more in a dictionary. A
column takes the UTF-8 bytes of its texts and 8 more per text. Above SPILL bytes it moves to a file that
vanishes with the process, and then takes no memory. Texts are read when they are needed, neighbours together.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import TypeVar

import numpy as np

from captioning.core.errors import UserError
from captioning.core.work import temporary_folder

SPILL = 16 * 2**20  # most bytes of a column in memory; the captions of 30,000 images take fewer
AT_ONCE = 1_000  # texts that are Python strings at the same time
DENSE = 2  # one read gets a block's chosen texts if at least one of two is chosen
DIGEST = 16  # bytes of a text's hash: no two of 10^9 texts share one
T = TypeVar("T")


class Bytes:
    """Bytes to append and read: in memory up to SPILL, above it in a file that vanishes with the process."""

    def __init__(self) -> None:
        self._held: bytearray | None = bytearray()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, more: bytes) -> None:
        """Adds bytes at the end. Beyond SPILL bytes in all, they move from memory to a temporary file."""
        self._size += len(more)
        if self._held is not None and self._size > SPILL:
            self._file = tempfile.TemporaryFile(dir=temporary_folder(), buffering=0)  # noqa: SIM115
            self._write(self._held)
            self._held = None
        if self._held is None:
            self._write(more)
        else:
            self._held += more

    def read(self, start: int, stop: int) -> memoryview:
        """The bytes from `start` to `stop`. Raises UserError if another program has cut the file."""
        if self._held is not None:
            return memoryview(self._held)[start:stop].toreadonly()
        out = memoryview(bytearray(stop - start))
        self.read_into(out, start)
        return out

    def read_into(self, out: memoryview, start: int) -> None:
        """Fills `out`, a view of bytes."""
        if self._held is not None:
            out[:] = memoryview(self._held)[start : start + len(out)]
            return
        while out:
            if not (count := os.preadv(self._file.fileno(), [out], start)):
                raise UserError("a temporary file is cut short: start this command again")
            out, start = out[count:], start + count

    def _write(self, more: bytes | bytearray) -> None:
        rest = memoryview(more)
        while rest:
            rest = rest[self._file.write(rest) :]


class Column(Sequence[T]):
    """A sequence that is read in slices, which cannot have steps. Subclasses have `__len__` and `_read`."""

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            start, stop, _ = place.indices(len(self))
            return self._read(start, max(start, stop))
        place = range(len(self))[place]
        return self._read(place, place + 1)[0]

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]

    def _read(self, start: int, stop: int) -> list[T]:
        raise NotImplementedError


class Texts(Column[str]):
    """A column of texts. Its maker fills it once; later it is only read.

    Args:
        texts: the first texts; `extend` appends more.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._letters, self._ends, self._count = Bytes(), Bytes(), 0
        self._ends.append(np.zeros(1, np.int64).tobytes())
        self._last = 0
        for block in blocks(texts):
            self.extend(block)

    def extend(self, texts: Sequence[str]) -> None:
        """Appends these texts."""
        letters = "".join(texts)
        counted = texts if letters.isascii() else map(_utf8, texts)  # most captions are
        ends = self._last + np.fromiter(map(len, counted), np.int64, len(texts)).cumsum()
        self._letters.append(_utf8(letters))
        self._ends.append(ends.tobytes())
        self._count += len(texts)
        self._last = int(ends[-1]) if len(ends) else self._last

    def __len__(self) -> int:
        return self._count

    def _read(self, start: int, stop: int) -> list[str]:
        ends = np.frombuffer(self._ends.read(8 * start, 8 * stop + 8), np.int64)
        letters, cuts = bytes(self._letters.read(ends[0], ends[-1])), (ends - ends[0]).tolist()
        if letters.isascii():
            whole = letters.decode()
            return [whole[a:b] for a, b in pairwise(cuts)]
        return [letters[a:b].decode(errors="surrogatepass") for a, b in pairwise(cuts)]


class Chosen(Column[T]):
    """Some items of a sequence, by their places (n,)."""

    def __init__(self, items: Sequence[T], places: np.ndarray) -> None:
        self.items, self.places = items, places

    def __len__(self) -> int:
        return len(self.places)

    def _read(self, start: int, stop: int) -> list[T]:
        places = self.places[start:stop]
        low, high = int(places.min(initial=len(self.items))), int(places.max(initial=0))
        if high - low < DENSE * len(places):
            near = list(self.items[low : high + 1])
            return [near[place] for place in (places - low).tolist()]
        return [item for run in runs(places) for item in self.items[run]]


class Grouped(Column[list[str]]):
    """Lists of neighbouring texts. List i has the texts from `ends[i]` to `ends[i + 1]`; `ends`: (n + 1,)."""

    def __init__(self, texts: Sequence[str], ends: np.ndarray) -> None:
        self.texts, self.ends = texts, ends

    @classmethod
    def of(cls, lists: Iterable[list[str]]) -> Grouped:
        """These lists, as a column."""
        texts, counts = Texts(), array("q", [0])
        for block in blocks(lists):
            texts.extend([text for one in block for text in one])
            counts.extend(map(len, block))
        return cls(texts, np.cumsum(counts))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def _read(self, start: int, stop: int) -> list[list[str]]:
        ends = self.ends[start : stop + 1].tolist()
        texts = list(self.texts[ends[0] : ends[-1]])
        return [texts[a - ends[0] : b - ends[0]] for a, b in pairwise(ends)]


class Index:
    """Finds texts' places in a column. It holds 24 bytes per text, for any length of text."""

    def __init__(self, texts: Iterable[str]) -> None:
        digests = _digests(texts)
        self._order = digests.argsort(kind="stable")
        self._sorted = digests[self._order]

    def find(self, texts: Iterable[str]) -> np.ndarray:
        """The first place of each text (n,); -1: the column does not have it."""
        wanted = _digests(texts)
        if not len(self._sorted):
            return np.full(len(wanted), -1)
        places = self._sorted.searchsorted(wanted).clip(max=len(self._sorted) - 1)
        return np.where(self._sorted[places] == wanted, self._order[places], -1)

    def counts(self, texts: Iterable[str]) -> np.ndarray:
        """How often the column has each text (n,)."""
        wanted = _digests(texts)
        return self._sorted.searchsorted(wanted, "right") - self._sorted.searchsorted(wanted)

    def firsts(self) -> np.ndarray:
        """The first place of each different text, in the column's order."""
        new = np.append(True, self._sorted[1:] != self._sorted[:-1])[: len(self._sorted)]
        return np.sort(self._order[new])

    def repeats(self) -> np.ndarray:
        """The other places: of texts that an earlier one equals, in the column's order."""
        return np.setdiff1d(np.arange(len(self._order)), self.firsts())


def blocks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of AT_ONCE."""
    items = iter(items)
    while block := list(islice(items, AT_ONCE)):
        yield block


def runs(places: np.ndarray) -> Iterator[slice]:
    """The places (n,) as the fewest possible slices."""
    if len(places):
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        starts, stops = places[np.append(0, cuts)], places[np.append(cuts - 1, len(places) - 1)] + 1
        yield from map(slice, starts.tolist(), stops.tolist())


def _digests(texts: Iterable[str]) -> np.ndarray:
    """(n,) hashes, as bytes."""
    found = [np.empty(0, f"S{DIGEST}")]
    for block in blocks(texts):
        hashed = (hashlib.blake2b(_utf8(text), digest_size=DIGEST).digest() for text in block)
        found.append(np.frombuffer(b"".join(hashed), f"S{DIGEST}"))
    return np.concatenate(found)


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
