"""Stage inputs: the files and folders outside the project that params.yaml names, as links that DVC can follow.

Reads   the settings that may name a local file: pictures, captions, weights, features, GPT-2's folder,
        `model.init_from`, ensembles. Data come first: a wrong path is told before anything is fetched.
Writes  inputs/, an entry a setting: a link to the file, a folder of links to the files of a folder, or else a text
        with the setting's value. DVC hashes what a link leads to: other bytes under the same path re-run the stages
        that read them, and the run cache never answers with another file's result. Nothing is copied. The link to the
        folder of your own pictures is itself a dependency of stage prepare: DVC then sees files that are added, too
        (in links to further folders it does not look).
Takes   half a second; the first time DVC reads each file once.
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
EMPTIED = [*map(paths.checkpoint, NETWORKS), *map(paths.features, paths.ENCODER_OF.values())]  # by DVC, before a stage


@stage
def main() -> None:
    settings = schema.load()
    ensemble = settings.generate.ensemble
    shutil.rmtree(paths.INPUTS, ignore_errors=True)
    paths.INPUTS.mkdir()
    watch(settings)
    enter("vgg16.weights", [sources.vgg16(settings.vgg16.weights)])
    enter("clip.weights", [sources.clip(settings.clip.weights)])
    for key, path in (("vgg16.features", settings.vgg16.features), ("clip.features", settings.clip.features)):
        enter(key, [OwnFile(f"{key} = {path}", path)] if path else [])
    enter("model.gpt2", [sources.gpt2(settings.model.gpt2)])
    enter("model.init_from", [sources.clipcap(settings.model.init_from)])
    for name in paths.ENCODER_OF:
        key = f"generate.ensemble.{name}"
        enter(key, [OwnFile(f"{key}: {path}", path, "folder") for path in getattr(ensemble, name)])


def watch(settings: schema.Settings) -> None:
    """Links the user's pictures and captions, `inputs/data.root` and `inputs/data.annotations`; a text for none."""
    found = {}
    if settings.data.source != "scenes":
        from captioning.data.needed import located

        with chdir(home := project_folder()):  # DVC's copies of the project have no pictures
            found = {key: path.resolve() for key, path in located(settings.data).items()}
        if "data.root" in found and home.resolve().is_relative_to(found["data.root"]):
            del found["data.root"]  # the project itself lies in it, and changes with each run
    for key in ("data.root", "data.annotations"):
        if key in found:
            (paths.INPUTS / key).symlink_to(found[key])
        else:
            (paths.INPUTS / key).write_text("nothing\n")


def enter(key: str, named: list[Needed | None]) -> None:
    """Links what a setting names, `inputs/KEY/NUMBER`. What has a checksum or a name on the hub is its text alone."""
    (paths.INPUTS / key).mkdir()
    (paths.INPUTS / key / "named.txt").write_text("".join(f"{one.setting}\n" for one in named if one) or "nothing\n")
    for number, one in enumerate(named):
        if isinstance(one, OwnFile):
            link(one.get().absolute(), paths.INPUTS / key / str(number), one.setting)


def link(found: Path, at: Path, setting: str) -> None:
    """A link to a file, or a folder of links to all files below a folder: DVC follows no link to a folder.

    Raises UserError for an output of ours, which its stage would find gone.
    """
    if any(found.resolve().is_relative_to(path.resolve()) for path in EMPTIED):
        raise UserError(f"{setting} lies in an output of the pipeline, which is emptied: copy it elsewhere")
    if found.is_file():
        at.symlink_to(found)
        return
    at.mkdir()
    for path in sorted(found.rglob("*")):
        if path.is_file():
            (at / path.relative_to(found)).parent.mkdir(parents=True, exist_ok=True)
            (at / path.relative_to(found)).symlink_to(path)


if __name__ == "__main__":
    main()
