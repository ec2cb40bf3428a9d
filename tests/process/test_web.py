"""The page's server: its answers, other web sites, hostile clients. The captioners are real, small and
untrained."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import small_project

from app import load_captioner
from app.export import export
from app.origin import doubts, learned_from, samples

SERVER = """
import asyncio, sys
from app import load_captioner, web

web.UPLOAD_SECONDS = float(sys.argv[1])
captioners = {kind: load_captioner(f"checkpoints/{kind}") for kind in ("clipcap", "lstm")}
try:
    asyncio.run(web._until_interrupted(web.application(captioners), 0))
except KeyboardInterrupt:
    pass
"""
ROOT = Path(__file__).parents[2]
PICTURE = b"P6 2 2 255\n" + bytes(12)
TYPE = {"Content-Type": "application/octet-stream"}
DOUBT = "6 training images: too few"


class Server:
    def __init__(self, project: Path, seconds: float = 30) -> None:
        self.project = project
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", SERVER, str(seconds)], cwd=project, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        self.port = int(self.process.stdout.readline().split()[2].rsplit(":", 1)[1])

    def asked(
        self, address: str, headers: dict, method: str = "POST", body: bytes = PICTURE
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, address, skip_host="Host" in headers)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def got(self, address: str) -> tuple[int, dict, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", address)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def connected(self, content: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(content)
        return connection

    def sent(self, content: bytes) -> bytes:
        """The answer to these bytes, read until the server closes the connection."""
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
        """Seconds from Ctrl-C to the end, and the server's standard error."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, errors
        return time.monotonic() - start, errors


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of eight pictures, of which the last two are its test split."""
    folder = small_project.project(tmp_path_factory.mktemp("project"))
    images = pd.read_csv(folder / "data/images.csv", dtype=str)
    images.loc[6:, "split"] = "test"
    images.to_csv(folder / "data/images.csv", index=False)
    statistics = {"source": "scenes", "splits": {"train": {"images": 6}}, "vocabulary": 21, "doubts": [DOUBT]}
    (folder / "data/statistics.json").write_text(json.dumps(statistics))
    return folder


@pytest.fixture(scope="module")
def server(project):
    server = Server(project)
    yield server
    seconds, errors = server.end()
    assert errors == ""
    assert seconds < 20  # 2 on an idle machine


def upload(length: int, sent: bytes) -> bytes:
    return (
        f"POST /captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode() + sent


def test_the_page_itself_and_programs_are_answered(server):
    here = f"http://127.0.0.1:{server.port}"
    for headers in ({}, {"Origin": here}, {"Origin": here, "Sec-Fetch-Site": "same-origin"}):
        status, answer = server.asked("/captions?captioner=lstm&captions=2", TYPE | headers)
        assert status == 200 and len(json.loads(answer)["captions"]) == 2
    assert server.asked("/", {"Sec-Fetch-Site": "cross-site"}, "GET", b"")[0] == 200  # a link on another page


def rows(server, query: str) -> list[dict]:
    status, answer = server.asked(
        f"/captions{query}", TYPE, body=Path(server.project / "pictures/3.png").read_bytes()
    )
    assert status == 200, answer
    return json.loads(answer)["captions"]


def test_rows_are_the_captioners_own_with_the_probability_of_each_word(server):
    found = {row["model"]: row for row in rows(server, "")}
    assert list(found) == ["clipcap", "lstm"]
    for kind, row in found.items():
        [caption] = load_captioner(server.project / "checkpoints" / kind)([server.project / "pictures/3.png"])
        wanted = caption.row()
        assert row["caption"] == wanted["caption"]
        assert [row[key] for key in ("score", "mean", "lowest")] == pytest.approx(
            [wanted[key] for key in ("score", "mean", "lowest")], rel=1e-4
        )
    words, tokens = found["lstm"]["words"], caption.tokens  # each a word, as in the LSTM's vocabulary
    assert "".join(text for text, _ in words) == caption.caption
    assert [chance for _, chance in words] == [round(one.probability, 4) for one in tokens if one.text]


def test_without_a_method_captions_are_those_of_the_command_line(server):
    picture = server.project / "pictures/3.png"
    for kind in ("clipcap", "lstm"):
        captioner = load_captioner(server.project / "checkpoints" / kind)
        assert captioner.how.generate.diverse.method == "nucleus"
        [wanted] = captioner.several([picture], 4)
        assert [row["caption"] for row in rows(server, f"?captioner={kind}&captions=4")] == [
            caption.caption for caption in wanted
        ]


def test_captions_are_drawn_as_asked(server):
    def texts(query: str) -> list[str]:
        return [row["caption"] for row in rows(server, f"?captioner=lstm&{query}")]

    best = texts("captions=1")
    assert texts("captions=1&method=beams&seed=5") == best and texts("captions=3&method=beams")[:1] == best
    drawn = [texts(f"method=nucleus&temperature=2&seed={seed}") for seed in range(6)]
    assert len({text for [text] in drawn}) > 2 and texts("method=nucleus&temperature=2&seed=3") == drawn[3]
    assert len(set(texts("captions=4&method=nucleus&seed=3"))) == 4
    cold = [texts(f"method=nucleus&temperature=0.01&seed={seed}") for seed in range(3)]
    assert cold[0] == cold[1] == cold[2]
    assert texts("captions=1") == best, "nothing of this stays"


@pytest.mark.parametrize(
    ("query", "told"),
    [("captioner=gpt", "captioner must be one of clipcap, lstm"),
     ("method=greedy", "method must be one of beams"),
     ("temperature=0", "above 0 and at most 2"), ("temperature=2.01", "above 0"),
     ("temperature=nan", "above 0"), ("temperature=1e0", "above 0"), ("seed=-1", "from 0 to 2147483647"),
     ("seed=2147483648", "from 0"), ("seed=" + "9" * 5000, "from 0"),
     ("caption=2", "no such parameter: 'caption'; there are captioner, captions")],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(server, query, told):
    status, answer = server.asked(f"/captions?{query}", TYPE)
    assert status == 400 and told in json.loads(answer)["error"]


def test_samples_are_test_pictures_and_nothing_else(server, project):
    about = json.loads(server.asked("/about", {}, "GET", b"")[1])
    assert about["captioners"] == {"clipcap": "ClipCap", "lstm": "LSTM"}
    assert (
        about["learned"]
        == "scenes: 6 drawings, 21 words; for photographs see “Your own pictures” in the project's README"
    )
    assert about["doubts"] == [DOUBT]
    assert about["samples"] == ["6.png", "7.png"] and about["temperature"] == 0.5
    status, headers, content = server.got("/samples/1")
    assert (status, headers["Content-Type"], content) == (
        200,
        "image/png",
        (project / "pictures/7.png").read_bytes(),
    )
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    for address in ("2", "-1", "01", "x", "..%2F..%2Fdata%2Fimages.csv", "../data/images.csv", "%00"):
        assert server.got(f"/samples/{address}")[0] == 404


def test_a_captioner_without_data_beside_it_has_no_samples(tmp_path, project):
    folder = tmp_path / "checkpoints/lstm"
    assert learned_from(folder) is None and samples(folder) == [] == doubts(folder)
    (tmp_path / "data").mkdir()
    statistics = {"source": "folder", "splits": {"train": {"images": 6000}}, "vocabulary": 2500}
    (tmp_path / "data/statistics.json").write_text(json.dumps(statistics))
    assert learned_from(folder) == "folder: 6,000 pictures, 2,500 words"
    export(project / "checkpoints/lstm", tmp_path / "given")
    assert learned_from(tmp_path / "given").startswith("scenes: 6 drawings, 21 words")
    assert samples(tmp_path / "given") == [] and doubts(tmp_path / "given") == [DOUBT]


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


@pytest.mark.parametrize(
    "count", ["9" * 5000, "0" * 5000 + "1", "-1", "21", "1.0", "", "%C2%B2", "%FF", "1e1"]
)
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


def test_ctrl_c_does_not_wait_for_an_unfinished_upload(project):
    server = Server(project)
    held = [server.connected(upload(1000, b"half")), server.connected(b"POST /cap"), server.connected(b"")]
    time.sleep(0.3)
    seconds, errors = server.end()
    assert seconds < 20 and errors == ""  # 2 on an idle machine
    assert len(held) == 3


def test_slow_clients_are_ended_and_limited_in_number(project):
    server = Server(project, seconds=4)  # longer than it takes to connect, also on a busy machine
    silent = [
        server.connected(content) for content in (b"", b"POST /captions HT", b"GET / HTTP/1.1\r\nHost: ")
    ]
    slow = [server.connected(upload(1000, b"half")) for _ in range(16)]
    time.sleep(0.5)
    assert server.asked("/captions", TYPE)[0] == 503
    assert b"408" in slow[0].recv(1000)
    assert server.asked("/captions", TYPE)[0] == 200
    assert [connection.recv(1000) for connection in silent] == [b""] * 3
    assert server.end()[1] == ""
