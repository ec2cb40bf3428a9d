"""Unpacks zip archives from the network: writes nothing outside the folder and skips junk."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from captioning.core.errors import UserError, opening
from captioning.core.progress import track

AGAIN = "remove it and fetch it again"
JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


def extract(archive: Path, folder: Path, limit: int = 20 * 10**9) -> list[Path]:
    """Unpacks all regular files of `archive` into `folder` and returns their paths.

    Checks all names before it writes the first byte, and moves the files into place after it has unpacked
    all of them.

    Args:
        limit: most bytes of all files; a small archive can unpack to petabytes.

    Raises:
        UserError: not a zip archive, damaged, or an entry is a link or leaves `folder`.
    """
    with opening(archive, "a zip archive", AGAIN), zipfile.ZipFile(archive) as source:
        entries = [entry for entry in source.infolist() if not entry.is_dir()]
        names = {_inside(archive, entry): entry for entry in entries if not _is_junk(entry.filename)}
        size = sum(entry.file_size for entry in names.values())
        if size > limit:
            sizes = f"{size / 1e9:.1f} GB, more than the {limit / 1e9:.0f} GB allowed"
            raise UserError(f"{archive} would unpack to {sizes}: {AGAIN}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as temporary:
            for name, entry in track(names.items(), f"unpacking {archive.name}", unit="file"):
                target = Path(temporary) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open(entry) as packed, open(target, "wb") as file:
                    shutil.copyfileobj(packed, file, 2**20)  # a wrong checksum raises at the end
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(temporary) / name).replace(folder / name)
    return [folder / name for name in names]


def _is_junk(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part in JUNK for part in parts) or parts[-1:] == () or parts[-1].startswith("._")


def _inside(archive: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    """Returns the entry's path relative to the folder of the unpacked files."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in entry.orig_filename:
        raise UserError(f"{archive}: the path of entry {entry.filename!r} leaves the folder: {AGAIN}")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise UserError(f"{archive}: entry {entry.filename!r} is a link or a device: {AGAIN}")
    return path
