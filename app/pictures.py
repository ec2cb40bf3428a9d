"""Which picture files a command line means: files, folders, globs, and `-` for a list on standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


class Pictures:
    """The files that the names mean, each once: in the order of the names, and by name inside a folder.

    Args:
        without: a file to leave out, such as the output file.

    Attributes:
        paths: as the user would write them.
        named: the files named one by one; the others were found in folders or by globs.
        faults: a sentence for each name that matches nothing.
    """

    def __init__(self, names: Iterable[str], without: str | None = None) -> None:
        self.paths: list[str] = []
        self.named: set[str] = set()
        self.faults: list[str] = []
        self._seen = {_place(without)} if without else set()
        for name in names:
            for one in _lines() if name == "-" else [name]:
                self._add(one)

    def _add(self, name: str) -> None:
        if URL.match(name) and not os.path.lexists(name):
            self.faults.append(f"{name} is a URL; download the picture and name its file")
        elif os.path.isdir(name):
            self._keep(self._inside(name))
        elif os.path.lexists(name) or not glob.has_magic(name):
            self._keep([name])
            self.named.add(name)
        elif found := sorted(glob.glob(name, recursive=True), key=_by_link):
            for one in found:
                self._keep(self._inside(one) if os.path.isdir(one) else [one])
        else:
            self.faults.append(f"{name} matches no file")

    def _inside(self, folder: str) -> Iterator[str]:
        """All files below a folder, by name. Skips hidden files, and does not follow links to folders."""

        def tell(error: OSError) -> None:
            self.faults.append(f"{error.filename} cannot be read: {error.strerror}")

        for here, folders, files in os.walk(folder, onerror=tell):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (os.path.join(here, name) for name in sorted(files) if not name.startswith("."))

    def _keep(self, paths: Iterable[str]) -> None:
        for path in paths:
            if (place := _place(path)) not in self._seen:
                self._seen.add(place)
                self.paths.append(path)


def _place(path: str) -> str:
    """A file's absolute path without links to folders: the `**` of a glob follows them, even in circles."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def _by_link(path: str) -> tuple[bool, str]:
    """Sorts by name; files behind a link to a folder come last."""
    return _place(path) != os.path.abspath(path), path


def _lines() -> Iterator[str]:
    """The names on standard input, one per line."""
    if sys.stdin is None:  # standard input is closed
        return iter(())
    sys.stdin.reconfigure(errors="surrogateescape")  # file names need not be UTF-8
    return (line.rstrip("\r\n") for line in sys.stdin if line.strip())
