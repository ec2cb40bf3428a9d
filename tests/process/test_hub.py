"""A captioner goes to the hub and comes back, through a server that answers as huggingface.co does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from small_data import ROOT
from small_project import edit_params, photos, project

from app import load_captioner


class Hub(BaseHTTPRequestHandler):
    """The parts of huggingface.co that uploading and downloading a model needs; files are in memory."""

    files: dict[str, bytes]  # files of the one repository
    blobs: dict[str, bytes]  # uploaded files by sha256
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def answer(self, content: object = b"", status: int = 200, **headers: str) -> None:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(f"{self.command} {self.path}")
        return content

    @property
    def home(self) -> str:
        return f"http://{self.headers['Host']}"

    def do_PUT(self) -> None:
        content = self.body()
        self.blobs[hashlib.sha256(content).hexdigest()] = content
        self.answer()

    def do_POST(self) -> None:
        content, path = self.body(), self.path
        if path == "/api/repos/create":
            self.answer({"url": f"{self.home}/me/captioner", "name": "me/captioner", "id": "me/captioner"})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif path.startswith("/api/models/me/captioner/preupload/"):
            files = [file["path"] for file in json.loads(content)["files"]]
            mode = {True: "lfs", False: "regular"}
            told = [{"path": p, "uploadMode": mode[p.endswith("s")], "shouldIgnore": False} for p in files]
            self.answer({"files": told})
        elif path == "/me/captioner.git/info/lfs/objects/batch":
            objects = [
                one | {"actions": {"upload": {"href": f"{self.home}/lfs/{one['oid']}"}}}
                for one in json.loads(content)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif path.startswith("/api/models/me/captioner/commit/"):
            for line in map(json.loads, content.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.files[value["path"]] = self.blobs[value["oid"]]
                elif line["key"] == "deletedFile":
                    del self.files[value["path"]]
            self.answer({"commitUrl": f"{self.home}/me/captioner/commit/{'a' * 40}", "commitOid": "a" * 40})
        else:
            self.answer({"error": path}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.body()
        path = self.path.partition("?")[0]
        if path == "/":
            self.answer()
        elif path.startswith("/api/models/me/captioner/tree/"):
            self.answer(
                [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in self.files.items()]
            )
        elif path.startswith("/api/models/me/captioner"):
            names = [{"rfilename": name} for name in self.files]
            self.answer({"id": "me/captioner", "sha": "a" * 40, "siblings": names, "private": False})
        elif (name := path.partition(f"/resolve/{'a' * 40}/")[2]) in self.files:
            content = self.files[name]
            self.answer(content, X_Repo_Commit="a" * 40, ETag=f'"{hashlib.sha256(content).hexdigest()}"')
        else:
            self.answer({"error": path}, 404)


@pytest.fixture
def hub():
    handler = type("OneHub", (Hub,), {"files": {}, "blobs": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()


def run(hub, folder: Path, *command: str | Path, said: str = "", offline: bool = False) -> tuple[int, str]:
    """Runs code in a new Python, because the hub's library reads its settings when it is imported."""
    env = os.environ | {
        "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_test", "HF_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=env, input=said, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_a_captioner_goes_through_the_hub(tmp_path, hub):
    house, pictures = project(tmp_path / "house"), photos(tmp_path / "pictures", 1)
    edit_params(house, {"  consensus: 0.0 ": "  consensus: 8.0 "})
    wanted = load_captioner(house / "checkpoints/lstm")(pictures)[0].caption
    hub.files["pytorch_model.bin"] = b"a pickle that somebody put there"
    status, told = run(
        hub, house, "-m", "commands.export", "lstm", "given", "--push", "me/captioner", said="y\n"
    )
    assert status == 0 and "uploaded: " in told, told
    mine = {
        str(path.relative_to(house / "given")): path
        for path in (house / "given").rglob("*")
        if path.is_file()
    }
    mine = {name: path.read_bytes() for name, path in mine.items()}
    assert {name: hub.files[name] for name in mine} == mine and len(mine) == 9
    assert b'load_captioner("me/captioner")' in mine["README.md"]

    away = tmp_path / "away"
    away.mkdir()
    for offline in (False, True):  # then from the cache
        status, told = run(hub, away, "-m", "app", "--model", "me/captioner", pictures[0], offline=offline)
        assert status == 0 and told.startswith(f"{pictures[0]}: {wanted}\n"), told
    assert list((away / "cache").rglob("*.safetensors")) and not list((away / "cache").rglob("*.bin"))

    edit_params(house, {})
    status, told = run(hub, house, "-m", "commands.export", "lstm", "second", "--push", "me/captioner")
    assert status == 0 and "consensus.json" not in hub.files, "captions that are not shared any more"
