"""Extraction on a real Ray cluster of two cores: the bytes of one process, also after kills of workers and of
the process that runs the stage."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from test_extract import BATCH, ROOT, Project, draw

pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")

STAGE = "-m", "stages.extract_vgg16"
PATIENCE = 900.0  # seconds, for busy machines
CLUSTER = """
import sys, ray
ray.init("local", num_cpus=2, num_gpus=0, include_dashboard=False, \
object_store_memory=2**27, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


class Cluster:
    """A Ray cluster on this machine, of processes of its own."""

    def __init__(self) -> None:
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_worker_niceness": "0",  # busy machines do not let workers of Ray's niceness of 15 work
        }  # fmt: skip
        self.started: list[subprocess.Popen] = []
        # Its workers start in another folder than the stage, as on another machine.
        self.process = self.start("-c", CLUSTER, folder=Path("/"), stdin=subprocess.PIPE)
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.stderr.read()

    def start(self, *arguments: str, folder: Path, **options) -> subprocess.Popen:
        """Starts Python with the cluster's token."""
        command = [sys.executable, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        self.started.append(subprocess.Popen(command, cwd=folder, env=self.environment, text=True, **pipes))
        return self.started[-1]

    def run(self, *arguments: str, folder: Path) -> str:
        """Returns what Python prints, or what it says when it fails."""
        process = self.start(*arguments, folder=folder)
        out, error = process.communicate(timeout=PATIENCE)
        return error.strip() if process.returncode else out

    def workers(self, what: str) -> list[psutil.Process]:
        """The actors, named by what they do: `ray::Worker.encode` while they encode."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found += [process] if "".join(process.cmdline()).startswith(what) else []
        return found

    def close(self) -> None:
        for driver in self.started[1:]:  # a test that fails leaves one
            driver.kill()
        self.process.stdin.close()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


def on(project: Project, address: str | None) -> None:
    """Sets machine.ray."""
    params = YAML(typ="safe").load((project.folder / "params.yaml").read_text())
    params["machine"]["ray"] = address
    YAML(typ="safe").dump(params, project.folder / "params.yaml")


def wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end
        time.sleep(0.01)


def shards(project: Project) -> list[Path]:
    return list(project.folder.glob(".work/rows/*/*.rows"))


def test_two_workers_give_the_bytes_of_one_process_and_what_exists_is_skipped(tmp_path, cluster):
    alone, project = (Project(tmp_path / name, 90) for name in ("alone", "many"))
    alone.run("extract_vgg16")
    on(project, cluster.address)
    out = cluster.run(*STAGE, folder=project.folder)
    assert "cpu (2 actors of Ray)" in out and "90 images, 0 reused, 90 computed" in out
    assert project.store("vgg16").read_bytes() == alone.store("vgg16").read_bytes()
    assert len(shards(project)) == 6  # of 16 images
    draw(project.folder / "data/images/040b.jpg", 999)
    project.prepare()
    assert "91 images, 90 reused, 1 computed" in cluster.run(*STAGE, folder=project.folder)
    shards(project)[0].unlink()
    out = cluster.run(*STAGE, folder=project.folder)
    assert "is missing: its" in out and "rows are computed again" in out
    incremental = project.store("vgg16").read_bytes()
    on(project, None)
    assert "91 images, 91 reused, 0 computed" in cluster.run(*STAGE, folder=project.folder)
    assert project.store("vgg16").read_bytes() == incremental


def test_ten_kills_of_workers_and_drivers_leave_the_same_bytes(tmp_path, cluster):
    count = 800
    alone, project = (Project(tmp_path / name, count) for name in ("alone", "killed"))
    alone.run("extract_vgg16")
    on(project, cluster.address)
    rng, driver, hits = random.Random(0), None, 0
    for kill in ["worker", "worker", "driver"] * 3 + ["worker"]:
        if driver is None:
            driver = cluster.start(*STAGE, folder=project.folder, stderr=None)
        wait(lambda: cluster.workers("ray::Worker.encode") or driver.poll() is not None)  # noqa: B023
        time.sleep(rng.uniform(0, 0.3))
        hits += driver.poll() is None
        if kill == "driver":
            driver.kill()
            driver.wait()
            driver = None
        else:
            for worker in cluster.workers("ray::Worker")[: rng.randint(1, 2)]:
                worker.kill()
    assert driver.wait(PATIENCE) == 0 and hits >= 3
    assert project.store("vgg16").read_bytes() == alone.store("vgg16").read_bytes()
    assert not list(project.folder.glob(".work/rows/*/*.tmp"))
    on(project, None)
    assert f"{count} reused, 0 computed" in cluster.run(*STAGE, folder=project.folder)
    wait(lambda: not cluster.workers("ray::Worker"))  # those of dead drivers too


def test_a_bad_image_is_one_line_and_nothing_computed_is_lost(tmp_path, cluster):
    project = Project(tmp_path / "a", 64)
    on(project, cluster.address)
    bad = project.folder / "data/images/020.jpg"
    content = bad.read_bytes()
    bad.write_bytes(content[:500])
    error = cluster.run(*STAGE, folder=project.folder)
    assert (
        error.startswith("error: data/images/020.jpg has changed since stage prepare read it")
        and "\n" not in error
    )
    assert "the features computed so far are kept" in error
    bad.write_bytes(content)
    out = cluster.run(*STAGE, folder=project.folder)
    computed = int(out.rpartition(" computed in")[0].rpartition(" ")[2])
    assert 4 <= computed <= 64 - 20, out  # at least the rest of its range of 8; not the ranges before it
    assert BATCH == 8


def test_a_worker_that_always_dies_ends_the_stage(tmp_path, cluster):
    project = Project(tmp_path / "a", 8)
    on(project, cluster.address)
    script = f"""
import os
from captioning.features.cluster import extract_on_cluster
from captioning.core.errors import command
command(extract_on_cluster)("f.h5", lambda: os._exit(1), \
["a"], ["a.jpg"], ["0" * 64], 8, 1, "{cluster.address}")
"""
    error = cluster.run("-c", script, folder=project.folder)
    assert error.startswith("error: a worker of the Ray cluster died before its first image: "), error
    assert "Traceback" not in error and "\n" not in error
