"""The page's server against other sites and hostile clients. A stand-in captions, as nothing here is about captions."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVER = """
import asyncio, sys
from types import SimpleNamespace
from app import web
from app.captioner import Caption
from captioning.features.images import clip_preprocess

def each(picture, count):
    picture.pixels(0)
    yield [Caption("a dog runs", 0.0, 1.0, 1.0)] * count

captioner = SimpleNamespace(each=each, encoder=SimpleNamespace(preprocess=clip_preprocess(32)))
web.UPLOAD_SECONDS = float(sys.argv[1])
try:
    asyncio.run(web._until_interrupted(web.application({"clipcap": captioner}), 0))
except KeyboardInterrupt:
    pass
"""
PICTURE = b"P6 2 2 255\n" + bytes(12)
TYPE = {"Content-Type": "application/octet-stream"}


class Server:
    def __init__(self, seconds: float = 30) -> None:
        root = Path(__file__).parent.parent
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", SERVER, str(seconds)], cwd=root, env=os.environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        self.port = int(self.process.stdout.readline().split()[2].rsplit(":", 1)[1])

    def asked(self, address: str, headers: dict, method: str = "POST", body: bytes = PICTURE) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, address, skip_host="Host" in headers)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def connected(self, content: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(content)
        return connection

    def sent(self, content: bytes) -> bytes:
        """The answer to these bytes, until the server closes the connection."""
        with self.connected(content) as connection:
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
            return answer

    def end(self) -> tuple[float, str]:
        """Seconds that Ctrl-C takes, and what the server has written to standard error."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, errors
        return time.monotonic() - start, errors


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    seconds, errors = server.end()
    assert errors == ""
    assert seconds < 5


def upload(length: int, sent: bytes) -> bytes:
    return (
        f"POST /captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode() + sent


def test_the_page_itself_and_programs_are_answered(server):
    here = f"http://127.0.0.1:{server.port}"
    for headers in ({}, {"Origin": here}, {"Origin": here, "Sec-Fetch-Site": "same-origin"}):
        assert server.asked("/captions?captions=2", TYPE | headers) == (
            200,
            '{"captions": ["a dog runs", "a dog runs"]}',
        )
    assert server.asked("/", {"Sec-Fetch-Site": "cross-site"}, "GET", b"")[0] == 200  # a link on another page


@pytest.mark.parametrize(
    "headers",
    [
        TYPE | {"Origin": "https://example.org"},
        TYPE | {"Origin": "null"},
        TYPE | {"Origin": "http://127.0.0.1:1"},
        TYPE | {"Origin": "http://127.0.0.1.example.org"},
        TYPE | {"Sec-Fetch-Site": "cross-site"},
        TYPE | {"Sec-Fetch-Site": "same-site"},
        TYPE | {"Host": "example.org"},
        {"Origin": "https://example.org"},
    ],
)
def test_another_sites_page_is_refused(server, headers):
    status, answer = server.asked("/captions", headers)
    assert status == 403 and "other sites" in answer


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": ""}])
def test_a_picture_needs_its_content_type(server, headers):
    assert server.asked("/captions", headers)[0] == 415


@pytest.mark.parametrize("count", ["9" * 5000, "0" * 5000 + "1", "-1", "21", "1.0", "", "%C2%B2", "%FF", "1e1"])
def test_a_count_that_is_none_is_refused(server, count):
    status, answer = server.asked(f"/captions?captions={count}", TYPE)
    assert status == 400 and "from 1 to 20" in answer


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # a browser's https
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /captions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /captions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        upload(10, b"").replace(b"Content-Length: 10", b"Transfer-Encoding: chunked") + b"zz\r\nabc\r\n",
        upload(10, b"not gzip..").replace(b"Host", b"Content-Encoding: gzip\r\nHost"),
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"BREW /captions HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=range(11),
)
def test_no_request_is_a_server_fault(server, content):
    answer = server.sent(content)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")) or answer == b""  # and nothing on standard error


def test_an_upload_that_breaks_off_leaves_no_trace(server):
    for _ in range(3):
        server.connected(upload(1000, b"half")).close()
    time.sleep(0.2)
    assert server.asked("/captions", TYPE)[0] == 200


def test_ctrl_c_does_not_wait_for_an_unfinished_upload():
    server = Server()
    held = [server.connected(upload(1000, b"half")), server.connected(b"POST /cap"), server.connected(b"")]
    time.sleep(0.3)
    seconds, errors = server.end()
    assert seconds < 20 and errors == ""  # 2 on an idle machine
    assert len(held) == 3


def test_slow_clients_are_ended_and_limited_in_number():
    server = Server(seconds=1.5)
    silent = [server.connected(content) for content in (b"", b"POST /captions HT", b"GET / HTTP/1.1\r\nHost: ")]
    slow = [server.connected(upload(1000, b"half")) for _ in range(16)]
    time.sleep(0.5)
    assert server.asked("/captions", TYPE)[0] == 503
    assert b"408" in slow[0].recv(1000)
    assert server.asked("/captions", TYPE)[0] == 200
    assert [connection.recv(1000) for connection in silent] == [b""] * 3
    assert server.end()[1] == ""
