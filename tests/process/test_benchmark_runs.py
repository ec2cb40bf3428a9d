"""The benchmarks' own processes: sides that run in turn, and the GPU's script at tiny sizes."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import gpu
from benchmarks.turns import in_turn


def _doubling(sizes):
    return lambda turn: {"doubled": turn * sizes["factor"]}


def _failing(sizes):
    raise RuntimeError("no such thing")


def test_sides_run_in_turn_in_processes_of_their_own():
    found = in_turn({"a": _doubling, "b": _doubling}, {"factor": 2}, rounds=2)
    assert [result["doubled"] for result in found["b"].results] == [0, 2]
    assert len(found["a"].seconds) == 2 and found["a"].peak > 0
    try:
        in_turn({"c": _failing}, {}, rounds=1)
    except RuntimeError as error:
        assert "no such thing" in str(error)
    else:
        raise AssertionError("the failure got lost")


def test_the_gpu_s_script_runs_to_its_end_on_a_processor(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--json", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["failed"] == {} and list(found["rows"]) == list(gpu.ROWS) and all(found["rows"].values())
    assert set(found["projected"]) == {"Flickr8k", "COCO"} and done.stdout.rstrip().endswith(
        gpu.markdown(found)
    )
    checks = [*found["rows"]["check-steps"], *found["rows"]["check-features"]]
    assert len(checks) == 6 and not [check["ours"] for check in checks if "!" in check["ours"]]
