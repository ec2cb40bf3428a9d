"""A web server on 127.0.0.1 for tests, with the faults of real servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `files` (path -> bytes).

    Attributes:
        ranges: whether it answers `Range` with a part of the file, or with all of it as some servers do.
        breaks_after: bytes after which the connection of each of the next answers is dropped; one entry per
            answer.
        asked: the (path, Range header) of every request.
    """

    daemon_threads = True

    def __init__(
        self, files: dict[str, bytes], ranges: bool = True, breaks_after: tuple[int, ...] = ()
    ) -> None:
        self.files, self.ranges, self.breaks_after = files, ranges, list(breaks_after)
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + self.server.breaks_after.pop(0) if self.server.breaks_after else len(content)
        self.wfile.write(content[start:stop])  # the connection closes after the answer


@contextmanager
def serving(files: dict[str, bytes], **faults) -> Iterator[FileServer]:
    server = FileServer(files, **faults)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
