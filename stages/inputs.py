"""Stage inputs: links files outside the project that params.yaml names, so that DVC can track them.

Reads   the settings that may name a local file: pictures, captions, weights, features, GPT-2's folder,
        `model.init_from`, ensembles. Data come first, so a wrong path is reported before any download.
Writes  inputs/, one entry per setting: a link to the file or folder, or a text file with the setting's value.
        DVC hashes the target of a link. If its bytes change, or a folder gets a new file, the stages that
        read it run again, and the run cache never returns another file's result. Nothing is copied. (DVC
        follows no links inside a folder to other folders.)
Takes   half a second. The first time, DVC reads each file once.
"""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path

from captioning.core import paths
from captioning.core import settings as schema
from captioning.core.errors import UserError
from captioning.core.work import project_folder
from captioning.weights import sources
from captioning.weights.sources import Needed, OwnFile
from stages import stage

NETWORKS = [name for pair in paths.ENCODER_OF.items() for name in pair]
# DVC empties them before a stage.
EMPTIED = [*map(paths.checkpoint, NETWORKS), *map(paths.features, paths.ENCODER_OF.values())]


@stage
def main() -> None:
    settings = schema.load()
    ensemble = settings.generate.ensemble
    shutil.rmtree(paths.INPUTS, ignore_errors=True)
    paths.INPUTS.mkdir()
    watch(settings)
    enter("vgg16.weights", sources.vgg16(settings.vgg16.weights))
    enter("clip.weights", sources.clip(settings.clip.weights))
    for key, path in (("vgg16.features", settings.vgg16.features), ("clip.features", settings.clip.features)):
        enter(key, sources.features(key, path))
    enter("model.gpt2", sources.gpt2(settings.model.gpt2))
    enter("model.init_from", sources.clipcap(settings.model.init_from))
    for name in paths.ENCODER_OF:
        enter_members(f"generate.ensemble.{name}", getattr(ensemble, name))


def watch(settings: schema.Settings) -> None:
    """Writes `inputs/data.root` and `inputs/data.annotations`: links to the user's files, or texts."""
    found = {}
    if settings.data.source != "scenes":
        from captioning.data.needed import located

        with chdir(home := project_folder()):  # DVC's copies of the project contain no pictures
            found = {key: path.resolve() for key, path in located(settings.data).items()}
        if "data.root" in found and home.resolve().is_relative_to(found["data.root"]):
            del found["data.root"]  # the folder contains the project, which changes with each run
    for key in ("data.root", "data.annotations"):
        if key in found:
            refuse_odd(found[key], key)
            (paths.INPUTS / key).symlink_to(found[key])
        else:
            (paths.INPUTS / key).write_text("nothing\n")


def enter(key: str, named: Needed | None) -> None:
    """Writes `inputs/KEY` for a setting: a link to the user's file, or the setting's text for a download."""
    if isinstance(named, OwnFile):
        (paths.INPUTS / key).symlink_to(usable(named).absolute())
    else:
        (paths.INPUTS / key).write_text(f"{named.setting}\n" if named else "nothing\n")


def enter_members(key: str, folders: list[str]) -> None:
    """Links the folders of an ensemble as `inputs/KEY/NUMBER`.

    DVC follows no link to a folder inside a folder, so these are folders of links. A captioner's files have
    fixed names, so additional files do not matter.
    """
    (paths.INPUTS / key).mkdir()
    (paths.INPUTS / key / "named.txt").write_text("".join(f"{folder}\n" for folder in folders) or "nothing\n")
    for number, folder in enumerate(folders):
        found = usable(OwnFile(f"{key}: {folder}", folder, "folder")).absolute()
        for path in filter(Path.is_file, sorted(found.rglob("*"))):
            link = paths.INPUTS / key / str(number) / path.relative_to(found)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)


def usable(named: OwnFile) -> Path:
    """The path that a setting names. Raises UserError for a pipeline output, which DVC would remove."""
    found = named.get()
    if any(found.resolve().is_relative_to(path.resolve()) for path in EMPTIED):
        raise UserError(f"{named.setting} lies in an output of the pipeline, which DVC empties: move it")
    refuse_odd(found, named.setting)
    return found


def refuse_odd(found: Path, setting: str) -> None:
    """Raises UserError for what DVC cannot hash: a broken link or a pipe."""
    if odd := [path for path in found.rglob("*") if not path.is_file() and not path.is_dir()]:
        raise UserError(f"{setting}: {odd[0]} is neither a file nor a folder: remove it")


if __name__ == "__main__":
    main()
