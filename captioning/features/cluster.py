"""Extraction on a Ray cluster, which makes the same bytes as one process.

Each of Ray's actors holds the network, on a GPU of its own or, in a cluster without GPUs, on one core. It is
given a range of images at a time and writes their rows as one shard into the row store's folder. The
project's folder must therefore lie on a file system that all machines share, at one path. Rows do not travel
through Ray; only the shards' names, counts and hashes do, and the process that runs the stage lists them in
the manifest.

A dead actor is restarted, on another machine if its own is gone, and its range is done again. If the stage's
process dies, only the unfinished ranges are lost.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from captioning.core.errors import UserError, in_a_line
from captioning.core.malloc import keep_freed_memory
from captioning.core.pictures import ImageFault
from captioning.core.progress import track
from captioning.core.threads import SILENCE
from captioning.features.encode import encode, images_at_once, steady, to_float16
from captioning.features.encoders import Encoder
from captioning.features.extract import Written, fill_and_write, reporting
from captioning.features.jpeg import decoding
from captioning.features.pixels import ImageFiles
from captioning.features.rows import Entry, RowStore, write_shard

HERE = f"{socket.gethostname()}, a machine of the Ray cluster,"
RANGE = 4096  # most images of a range: seconds on a GPU, minutes on a core
RANGES_EACH = 4  # per actor, if there are few images: a slow actor then delays the end less
RETRIES = 5  # for a range whose actor died; one more failure ends the stage


class Identity(NamedTuple):
    """What decides the rows that an actor computes; all actors must agree."""

    attributes: dict[str, str]
    code: str


class Result(NamedTuple):
    """What an actor did: its shard, if it computed a row; the first unusable image; the network's seconds."""

    entry: Entry | None
    fault: tuple[str, str] | None  # an ImageFault's message and reason
    seconds: float


class Worker:
    """An actor: the network on one GPU or core.

    Args:
        home: the project's folder. Relative paths of weights and images start there.
        load: opens the encoder.
        threads: number of threads that decode for a GPU.
    """

    def __init__(self, home: str, load: Callable[[], Encoder], batch_size: int, threads: int) -> None:
        self.home, self.load, self.batch_size, self.threads = home, load, batch_size, threads
        torch.set_num_threads(1)  # the other cores have actors of their own
        keep_freed_memory()

    @cached_property
    def encoder(self) -> Encoder:
        try:
            os.chdir(self.home)
        except OSError as error:
            raise UserError(
                f"{HERE} cannot enter {self.home} ({error.strerror}): "
                "all machines must share the project's folder, at the same path"
            ) from None
        return self.load()

    @cached_property
    def size(self) -> int:
        return steady(self.encoder, images_at_once(self.encoder, self.batch_size))

    def identity(self) -> Identity:
        return Identity(self.encoder.attributes | decoding(self.encoder.device), self.encoder.code)

    def encode(
        self, wanted: Identity, folder: str, ids: Sequence[str], paths: Sequence[str], sha256s: Sequence[str]
    ) -> Result:
        """Writes the rows of a range of images as one shard into `folder`, up to the first unusable image."""
        if differing := differences(wanted, self.identity()):
            raise UserError(
                f"{HERE} would compute different features ({differing}): all machines must have the same "
                "code, libraries and kind of GPU"
            )
        if not Path(folder).is_dir():
            raise UserError(f"{HERE} does not see {folder}: all machines must share it, at the same path")
        fault, busy = None, 0.0

        def batches() -> Iterator:
            nonlocal fault, busy
            files, done = ImageFiles(paths, self.encoder.preprocess, sha256s), 0
            engines = "decoding" in wanted.attributes
            try:
                for features, seconds in encode(self.encoder, files, self.size, self.threads, engines):
                    busy += seconds
                    yield to_float16(features, ids[done : done + len(features)])
                    done += len(features)
            except ImageFault as found:
                fault = str(found), found.reason

        entry = write_shard(Path(folder), sha256s, batches())
        return Result(entry, fault, busy)


def extract_on_cluster(
    path: str | Path,
    load_encoder: Callable[[], Encoder],
    ids: Sequence[str],
    paths: Sequence[str],
    sha256s: Sequence[str],
    batch_size: int,
    workers: int,
    address: str,
) -> Written:
    """Like `captioning.features.extract.extract`, on the Ray cluster at `address`.

    Args:
        load_encoder: is sent to the cluster's machines, so it must not hold a network itself.
        workers: threads of each actor that decode for its GPU. 0: its share of the cluster's cores.
        address: the cluster's; "auto": the one that this machine is in; "local": a new one on this machine.
    """
    with connected(address) as (ray, slots, resources, cores):
        actor_class = ray.remote(Worker).options(max_restarts=-1, max_task_retries=RETRIES, **resources)
        arguments = os.getcwd(), load_encoder, batch_size, workers or cores
        first = actor_class.remote(*arguments)
        identity = _get(ray, _patiently(ray, first.identity.remote()))

        def fill(rows: RowStore, needed: list[int]) -> None:
            ranges = deque(split(needed, slots, batch_size))
            actors = [first, *(actor_class.remote(*arguments) for _ in range(min(slots, len(ranges)) - 1))]
            results = track(run(rows, ranges, actors), name, len(ranges), "range of images")
            work.busy = sum(result.seconds for result in results) / len(actors)

        def run(rows: RowStore, ranges: deque[list[int]], actors: list) -> Iterator[Result]:
            folder, fault = str(rows.folder.absolute()), None
            # An actor gets its first range once it has started: the cluster may not have room for all yet.
            under_way: dict[Any, tuple[Any, list[int]]]
            under_way = {actor.identity.remote(): (actor, []) for actor in actors}
            while ranges or any(images for _, images in under_way.values()):
                [done], _ = ray.wait(list(under_way))
                actor, images = under_way.pop(done)
                result = _get(ray, done, [ids[i] for i in images])
                if images:
                    adopt(rows, images, result)
                    yield result
                    if result.fault:
                        fault = fault or ImageFault(*result.fault)
                        ranges.clear()  # ranges in progress are awaited and kept
                if ranges:
                    images = ranges.popleft()
                    lists = ([column[i] for i in images] for column in (ids, paths, sha256s))
                    under_way[actor.encode.remote(identity, folder, *lists)] = actor, images
                else:
                    ray.kill(actor)  # frees its place for an actor whose machine is gone
            if fault:
                raise fault

        name = f"{Path(path).stem}: encoding"
        with reporting(path, identity.attributes, f" ({slots} actors of Ray)") as work:
            work.written = fill_and_write(path, ids, sha256s, *identity, fill)
    return work.written


def adopt(rows: RowStore, images: list[int], result: Result) -> None:
    if result.entry:
        rows.adopt(result.entry)
    if not result.fault and (result.entry is None or result.entry.rows != len(images)):
        raise ValueError(f"a worker gave {result.entry} for {len(images)} images")


def split(needed: Sequence[int], slots: int, batch_size: int) -> Iterator[list[int]]:
    """Yields ranges of the images needed: whole batches, of at most RANGE images, several for each actor."""
    size = min(RANGE, math.ceil(len(needed) / (slots * RANGES_EACH)))
    size = math.ceil(size / batch_size) * batch_size
    for start in range(0, len(needed), size):
        yield list(needed[start : start + size])


def differences(wanted: Identity, found: Identity) -> str:
    """Names what differs, with both values."""
    pairs = [
        f"{name} {wanted.attributes.get(name)!r} and {found.attributes.get(name)!r}"
        for name in sorted(wanted.attributes | found.attributes)
        if wanted.attributes.get(name) != found.attributes.get(name)
    ]
    return ", ".join(pairs + ["the code that computes features"] * (wanted.code != found.code))


@contextmanager
def connected(address: str) -> Iterator[tuple[Any, int, dict[str, float], int]]:
    """Connects to a cluster until the block ends.

    Yields:
        the module `ray`; the number of actors that the cluster has room for; the resources of one of them;
        the cores for each.

    Raises:
        UserError: Ray is not installed, no cluster answers, or it fails inside the block.
    """
    try:
        import ray
    except ImportError:
        raise UserError(
            f"machine.ray = {address!r} needs Ray: `uv pip install -r requirements-ray.txt` first, "
            "or set it to null"
        ) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    code = str(Path(__file__).parents[2])
    try:
        if ":" in address:  # Ray would try for ten minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=10).close()
        ray.init(
            address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": code}},
        )
    except Exception as error:  # Ray's own may be of this class
        if address == "local":
            raise UserError(
                f"machine.ray = 'local': Ray did not start on this machine ({in_a_line(error)}): run the "
                "stage again when the machine is less busy, or set machine.ray to null"
            ) from None
        raise UserError(
            f"machine.ray = {address!r}: no Ray cluster can be reached there ({in_a_line(error)}); `ray "
            "start --head` starts one, one with a token also wants RAY_AUTH_MODE=token, "
            "and `local` uses this machine alone"
        ) from None
    try:
        has = ray.cluster_resources()
        cores, cards = int(has.get("CPU", 0)), int(has.get("GPU", 0))
        if not cores and not cards:
            raise UserError(f"machine.ray = {address!r}: the cluster offers neither GPUs nor cores")
        if cards:
            yield ray, cards, {"num_gpus": 1, "num_cpus": 0}, max(1, cores // cards)
        else:
            yield ray, cores, {"num_cpus": 1}, 1
    finally:
        ray.shutdown()


def _patiently(ray: Any, reference: Any) -> Any:
    while not ray.wait([reference], timeout=SILENCE)[0]:
        what = f"no worker of the Ray cluster is ready after {SILENCE} s"
        print(f"{what}: `ray status` shows what is in use", flush=True)
    return reference


def _get(ray: Any, reference: Any, ids: Sequence[str] = ()) -> Any:
    """An actor's result. Raises its error if a user can correct it, UserError if it died too often."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError | OSError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        what = f"on images {ids[0]} to {ids[-1]}, {RETRIES + 1} times" if ids else "before its first image"
        raise UserError(f"a worker of the Ray cluster died {what}: {in_a_line(error)}") from None
