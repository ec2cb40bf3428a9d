"""Starts a training stage in several processes: by `machine.processes`, or under a cluster's torchrun."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import torch
import torch.distributed as dist

from captioning.core import settings
from captioning.core.errors import UserError, in_a_line
from captioning.core.threads import end_with

STARTER = "CAPTIONING_STARTER"  # the variable of the environment with the starting process's number
CONNECT = timedelta(minutes=10)  # longest wait for the other processes to start
LONGEST = timedelta(days=1)  # longest wait for the first process's evaluation, or for another run's lock
ENDED = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")


def in_processes(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates a training stage's `main`: it runs in each of `machine.processes` processes.

    Under torchrun (`torchrun ... -m stages.NAME`), which sets RANK and WORLD_SIZE, this is one of them.
    """

    @functools.wraps(main)
    def run() -> None:
        if {"RANK", "WORLD_SIZE"} <= os.environ.keys():
            if int(os.environ["WORLD_SIZE"]) > 1:
                _join(main)
            else:
                main()
        elif (count := settings.load().machine.processes) > 1:
            _start(sys.modules[main.__module__].__spec__.name, count)
        else:
            main()

    return run


def _start(module: str, count: int) -> None:
    """Runs `python -m MODULE` in `count` processes of this machine. If one fails, all are ended."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    name = module.rpartition(".")[2]
    if torch.cuda.is_available() and count > torch.cuda.device_count():
        raise UserError(
            f"machine.processes = {count}: each process needs a GPU of its own, and this machine has "
            f"{torch.cuda.device_count()}"
        )
    print(f"{name}: {count} processes", flush=True)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the sentences below say it
    os.environ[STARTER] = str(os.getpid())
    try:
        config = LaunchConfig(
            1, 1, count, run_id=uuid.uuid4().hex, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
            local_addr="localhost", max_restarts=0, logs_specs=DefaultLogsSpecs(os.devnull),
        )  # fmt: skip
        elastic_launch(config, sys.executable)("-m", module, *sys.argv[1:])
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        # The others are ended by SIGTERM.
        rank = min(codes, key=lambda rank: (codes[rank] == -signal.SIGTERM, codes[rank]))
        code, how = codes[rank], f"failed (exit code {codes[rank]})"
        if code < 0:
            how = f"was killed (signal {-code}, {signal.Signals(-code).name})"
        raise UserError(
            f"{name}: process {rank} of {count} {how}, so all were ended; "
            "the next run goes on from the last epoch"
        ) from None
    except SignalException as error:
        sys.exit(128 + error.sigval)
    finally:
        del os.environ[STARTER]


def _join(main: Callable[[], None]) -> None:
    """Runs `main` as one process of several. The first one prints; the others print only why they fail."""
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", 0))
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with(int(os.environ.get(STARTER) or os.getppid()))  # the parent may have ended before this line
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise UserError(f"no GPU for process {local}: this machine has {torch.cuda.device_count()}")
        torch.cuda.set_device(local)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    _connect(backend)
    try:
        if rank == 0:
            main()
        else:
            with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
                main()
    except UserError:
        if rank:
            time.sleep(2)  # if the first process has the same fault, it says so, and torchrun ends this one
        raise
    except RuntimeError as error:
        if any(sign in str(error) for sign in ENDED):
            raise UserError(
                f"process {rank} stops since another one has ended ({in_a_line(error)})"
            ) from None
        raise
    dist.destroy_process_group()
    if rank:
        sys.exit(0)  # here, not in `stages.stage`: the first process notes the time


def _connect(backend: str) -> None:
    """Joins the other processes. torch alone would wait LONGEST for those that never come."""
    try:
        store, rank, count = next(dist.rendezvous("env://", timeout=CONNECT))
    except dist.DistError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UserError(
            f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} did not reach the others at {where} "
            f"({in_a_line(error)}): start all of them, on machines that can reach this address"
        ) from None
    store.set_timeout(LONGEST)
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=LONGEST)
