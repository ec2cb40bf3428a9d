"""Downloads files: shows progress, resumes after a broken connection, and checks a file before it is used.

Without a network it fails fast: the first answer must come within `FIRST_ANSWER` seconds.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from captioning.core.errors import FULL, UserError
from captioning.core.files import sha256_of
from captioning.core.progress import track

FIRST_ANSWER = 10  # seconds for a server's first answer, including the name lookup
STALLED = 60  # seconds without a byte before the connection is opened again
ATTEMPTS = 4  # connections in a row without a new byte before giving up
CHUNK = 2**20
DISK = (*FULL, errno.EFBIG, errno.EROFS)

T = TypeVar("T")


class DownloadFault(UserError):
    """Why a file cannot be downloaded, worded to follow "cannot be downloaded: "."""


def download(url: str, path: Path, sha256: str = "", attempts: int = ATTEMPTS) -> Path:
    """Downloads `url` to `path`, resuming from `path` + `.part` if an earlier attempt stopped.

    Args:
        sha256: the file's hash, or the hash's first digits. Empty: unknown, not checked.

    Raises:
        DownloadFault: no network, no such file, or bytes that do not have that checksum.
    """
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits if another process is downloading the same file
        if path.is_file():
            part.unlink(missing_ok=True)
            return path
        resumed = file.tell() > 0
        try:
            _fill(url, file, attempts)
        except DownloadFault:
            if file.tell() == 0:
                part.unlink()
            raise
        if sha256 and not sha256_of(part).startswith(sha256) and resumed:
            print(f"{part} was not the beginning of {url}: starting over", flush=True)
            file.truncate(0)
            _fill(url, file, attempts)
        if sha256 and not (found := sha256_of(part)).startswith(sha256):
            part.unlink()
            raise DownloadFault(f"{url} has the checksum {found[:16]}..., but {sha256[:16]}... is expected")
        part.replace(path)
    return path


def _fill(url: str, file: IO[bytes], attempts: int) -> None:
    """Appends the missing bytes of `url` to `file`; reconnects as long as bytes arrive."""
    failures = 0
    while True:
        before = file.seek(0, 2)
        try:
            if _receive(url, file):
                return
            fault = "the connection broke"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise DownloadFault(f"{url} answers {error.code} {error.reason}") from None
            fault = f"{url} answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            fault = str(getattr(error, "reason", "") or error or type(error).__name__)
            if getattr(error, "errno", None) in DISK:
                raise DownloadFault(f"{file.name} cannot be written: {error.strerror}") from None
        got = file.seek(0, 2)
        failures = 0 if got > before else failures + 1
        if failures >= attempts or (got == 0 and failures):  # the server was not reached: no network
            kept = f"; the {got / 1e6:.0f} MB there are kept" if got else ""
            raise DownloadFault(f"{url} cannot be reached ({fault}){kept}")
        time.sleep(failures)


def _receive(url: str, file: IO[bytes]) -> bool:
    """Appends the bytes of one connection to `file`. Returns whether the file is complete."""
    start = file.seek(0, 2)
    request = urllib.request.Request(url, headers={"User-Agent": "captioning"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = within(FIRST_ANSWER, lambda: urllib.request.urlopen(request, timeout=STALLED))
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the range begins at or after the end
            raise
        total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        if total == str(start):
            return True
        file.truncate(0)  # longer than the file, so it is another file
        return _receive(url, file)
    with response:
        if start and response.status != 206:
            file.truncate(0)  # a server without ranges sends all of it
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        name = Path(urllib.request.url2pathname(url)).name
        steps = -(-int(length) // CHUNK) if length else None
        for chunk in track(_chunks(response), f"downloading {name}", steps, "MiB"):
            file.write(chunk)
        file.flush()
    return total is None or file.tell() >= total


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(CHUNK)
        except http.client.IncompleteRead as error:
            chunk = error.partial
        if not chunk:
            return
        yield chunk


def within(seconds: float, function: Callable[[], T]) -> T:
    """The result of `function`, or TimeoutError: a name lookup may hang longer than any socket timeout."""
    result: list = []

    def run() -> None:
        try:
            result.append((function(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not result:
        raise TimeoutError(f"no answer in {seconds} seconds")
    value, error = result[0]
    if error is not None:
        raise error
    return value
