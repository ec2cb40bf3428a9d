"""Downloads from a real server that breaks off, ignores ranges, or serves other files; and malicious
archives."""

import hashlib
import io
import os
import random
import stat
import time
import zipfile
from pathlib import Path

import pytest
from file_server import serving

from captioning.core.errors import UserError
from captioning.data.needed import Flickr8k
from captioning.data.sources import flickr8k as source
from captioning.weights.download import DownloadFault, download, within
from captioning.weights.unzip import extract

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_arrives_whole_and_nothing_else_is_left(tmp_path):
    with serving({"/a.pt": CONTENT}) as server:
        path = download(f"{server.url}/a.pt", tmp_path / "cache/a.pt", SHA256)
        assert download(f"{server.url}/a.pt", path, SHA256) == path
    assert path.read_bytes() == CONTENT and os.listdir(path.parent) == ["a.pt"]
    assert len(server.asked) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path):
    with serving({"/a.pt": CONTENT}, breaks_after=(1_000_000, 500_000)) as server:
        path = download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256[:8])
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_an_earlier_run_s_beginning_is_used(tmp_path):
    (tmp_path / "a.pt.part").write_bytes(CONTENT[:2_000_000])
    with serving({"/a.pt": CONTENT}) as server:
        assert download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256).read_bytes() == CONTENT
    assert server.asked == [("/a.pt", "bytes=2000000-")]


@pytest.mark.parametrize("beginning", [CONTENT, CONTENT + b"more", b"x" * 100])
def test_a_beginning_that_is_whole_too_long_or_another_file_s(tmp_path, beginning):
    (tmp_path / "a.pt.part").write_bytes(beginning)
    with serving({"/a.pt": CONTENT}) as server:
        assert download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256).read_bytes() == CONTENT
    assert not (tmp_path / "a.pt.part").exists()


def test_a_server_without_ranges_sends_all_again(tmp_path):
    with serving({"/a.pt": CONTENT}, ranges=False, breaks_after=(1_000_000,)) as server:
        assert download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_wrong_checksum_is_refused_and_not_kept(tmp_path):
    with serving({"/a.pt": CONTENT[:-1] + b"!"}) as server, pytest.raises(DownloadFault, match="is expected"):
        download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256)
    assert os.listdir(tmp_path) == []


def test_a_server_that_keeps_breaking_off_is_given_up_and_what_came_is_kept(tmp_path):
    with serving({"/a.pt": CONTENT}, breaks_after=(1_000_000, 0, 0, 0)) as server:
        with pytest.raises(DownloadFault, match=r"connection broke.*1 MB there are kept"):
            download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256, attempts=2)
        assert (tmp_path / "a.pt.part").stat().st_size == 1_000_000
        server.breaks_after.clear()
        assert download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256).read_bytes() == CONTENT


def test_what_is_not_there_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", None)  # another attempt would wait first
    with serving({}) as server, pytest.raises(DownloadFault, match="404"):
        download(f"{server.url}/a.pt", tmp_path / "a.pt")
    with pytest.raises(DownloadFault, match="cannot be reached"):  # nothing listens there any more
        download(f"{server.url}/a.pt", tmp_path / "a.pt")
    with pytest.raises(DownloadFault, match="cannot be reached"):
        download("http://no-such-host.invalid/a.pt", tmp_path / "a.pt")
    assert os.listdir(tmp_path) == []


def test_a_call_that_hangs_is_left_alone():
    with pytest.raises(TimeoutError):
        within(0.05, lambda: time.sleep(1))
    assert within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


# ---- archives


def archive(path: Path, entries: dict[str, bytes], **modes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = modes.get(name, stat.S_IFREG | 0o644) << 16
            file.writestr(entry, content)
    return path


def test_files_are_unpacked_and_junk_is_not(tmp_path):
    names = ["a/1.jpg", "a/b/2.jpg", "3.txt", "__MACOSX/a/._1.jpg", "a/.DS_Store", "a/._2.jpg", "Thumbs.db"]
    source = archive(tmp_path / "x.zip", {name: name.encode() for name in names})
    found = extract(source, tmp_path / "out")
    assert found == [tmp_path / "out" / name for name in names[:3]]
    files = {
        str(p.relative_to(tmp_path / "out")): p.read_bytes()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    }
    assert files == {name: name.encode() for name in names[:3]}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "C:evil"])
def test_an_entry_that_leads_out_stops_all_before_anything_is_written(tmp_path, name):
    source = archive(tmp_path / "x.zip", {"good.jpg": b"1", name: b"2"})
    with pytest.raises(UserError, match=r"leaves the folder: remove it and fetch it again"):
        extract(source, tmp_path / "in" / "out")
    assert sorted(os.listdir(tmp_path)) == ["x.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    source = archive(tmp_path / "x.zip", {"link": b"/etc"}, link=kind | 0o777)
    with pytest.raises(UserError, match="is a link or a device"):
        extract(source, tmp_path / "out")


def test_a_damaged_archive_leaves_no_file_in_place(tmp_path):
    source = archive(tmp_path / "x.zip", {"a.jpg": b"a" * 5000, "b.jpg": CONTENT[:5000]})
    content = bytearray(source.read_bytes())
    content[content.index(CONTENT[100:120])] ^= 1  # random bytes are stored nearly unchanged
    source.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        extract(source, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []
    for broken in (b"", b"PK", CONTENT[:100], bytes(content[:-30])):
        source.write_bytes(broken)
        with pytest.raises(UserError, match="is not a zip archive"):
            extract(source, tmp_path / "out")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    with pytest.raises(UserError, match="would unpack to"):
        extract(archive(tmp_path / "x.zip", {"a": bytes(10**6)}), tmp_path / "out", limit=10**6 - 1)


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def flickr8k(images: int = 6) -> tuple[dict[str, bytes], dict[str, int]]:
    """The two archives in small, with the extra files of the real ones."""
    names = [f"{i}.jpg" for i in range(images)]
    text = {
        "Flickr8k.token.txt": "".join(f"{n}#{k}\ta dog .\n" for n in names for k in range(5)),
        "Flickr_8k.trainImages.txt": "\n".join(names[:4]),
        "Flickr_8k.devImages.txt": names[4] + "\n",
        "Flickr_8k.testImages.txt": names[5] + "\n",
        "__MACOSX/._readme.txt": "junk",
    }
    pictures = {f"Flicker8k_Dataset/{name}": b"jpeg" for name in names} | {
        "__MACOSX/Flicker8k_Dataset/._0.jpg": b""
    }
    files = {"/Flickr8k_text.zip": zipped({n: c.encode() for n, c in text.items()})}
    counts = {"images": images, "captions": 5 * images, "train": 4, "dev": 1, "test": 1}
    return files | {"/Flickr8k_Dataset.zip": zipped(pictures)}, counts


def test_flickr8k_is_fetched_unpacked_and_counted(tmp_path):
    files, counts = flickr8k()
    with serving(files, breaks_after=(10**6, 300)) as server:
        wanted = Flickr8k("data.root = null", tmp_path / "flickr8k", server.url, tuple(counts.items()))
        assert wanted.find() is None
        assert wanted.get() == wanted.find() == tmp_path / "flickr8k"
        assert len(server.asked) == 3  # one connection broke
        wanted.get()
        assert len(server.asked) == 3
    assert sorted(os.listdir(tmp_path / "flickr8k")) == ["Flicker8k_Dataset", "Flickr8k_text"]
    layout = source.locate(str(tmp_path / "flickr8k"))
    assert layout.official and layout.splits
    (tmp_path / "flickr8k/Flicker8k_Dataset/3.jpg").unlink()
    assert wanted.find() is None and wanted.missing() == "5 of 6 images"


def test_flickr8k_with_other_counts_is_an_error(tmp_path):
    files, counts = flickr8k()
    with serving(files) as server:
        wanted = Flickr8k(
            "data.root = null", tmp_path, server.url, tuple((counts | {"images": 8091}).items())
        )
        with pytest.raises(UserError, match="6 of 8091 images after unpacking"):
            wanted.get()
