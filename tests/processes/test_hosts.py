"""Many processes make one run: the same counts as one, and an end that can be told and resumed when one is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT
from cli_runs import run
from shared_queries import PLANE

import volume
from volume.__main__ import main
from volume.cluster.process_group import ProcessGroup, ProcessLost

# A silent process is lost after so long; a healthy one that is starved of the processor for so long would be, too.
TIMEOUT = 20.0
WORDS = ["estimate", "--model", "mlp:7-40-40-1", "--bias-std", "0.1", "--classifier", "ones", "--seed", "5"]
WORDS += ["--draws", "6e5"]

# One import of JAX for all processes of a launch: each is a child that goes its own way before JAX computes anything.
LAUNCH = """
import json, os, sys, warnings
import volume.cluster.distributed, volume.samplers, volume.models, volume.estimators.direct.direct
from volume.__main__ import main

warnings.simplefilter("ignore")  # JAX warns of forks; it has no threads yet
children = []
for words, environment, out in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        file = os.open(out, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1), os.dup2(file, 2)
        os.environ.update(environment)
        code = main(words)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    children.append(child)
print(*children, flush=True)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Launch:
    """Processes of one launch on this machine; `words` and `environment` take the process's number, `jax` is read as
    JAX is imported."""

    def __init__(self, tmp_path, number, words, environment=lambda _: {}, jax=()):
        self.outs = [tmp_path / f"said-{k}" for k in range(number)]
        plan = [(words(k), environment(k), str(out)) for k, out in enumerate(self.outs)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, json.dumps(plan)],
            cwd=ROOT,
            env=os.environ | dict(jax),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.pids = [int(word) for word in self.process.stdout.readline().split()]

    def codes(self) -> list[int]:
        out, _ = self.process.communicate(timeout=300)
        return [int(word) for word in out.split()]

    def said(self, number) -> str:
        return self.outs[number].read_text()


def assert_same_report(path, other):
    mine, theirs = volume.load(path), volume.load(other)
    assert isinstance(mine, volume.VolumeReport)
    assert isinstance(theirs, volume.VolumeReport)
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        np.testing.assert_array_equal(getattr(mine.counts, name), getattr(theirs.counts, name))
    records = [{k: v for k, v in report.to_dict().items() if k != "run"} for report in (mine, theirs)]
    assert records[0] == records[1]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder of the run by one process."""
    out = tmp_path_factory.mktemp("hosts") / "one"
    assert main([*WORDS, "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_four_processes_give_the_report_of_one(one, tmp_path):
    """As Slurm starts them: JAX finds the processes by itself."""
    words = [*WORDS, "--json", "--progress"]
    out = tmp_path / "four"
    shared = {"SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "4"}
    shared["JAX_COORDINATOR_PORT"] = str(free_port())
    launch = Launch(
        tmp_path,
        4,
        lambda _: [*words, "--out", str(out), "--distributed", "--process-timeout", str(TIMEOUT)],
        lambda k: shared | {"SLURM_PROCID": str(k), "SLURM_LOCALID": str(k)},
    )
    assert launch.codes() == [0, 0, 0, 0], [launch.said(k) for k in range(4)]
    assert_same_report(one, out)
    ranges = []
    for k in range(4):
        lines = (out / f"manifest-{k}.jsonl").read_text().splitlines()
        assert lines, f"process {k} wrote no part of its own"
        ranges += [(line["facts"]["first"], line["facts"]["stop"]) for line in map(json.loads, lines)]
    ranges.sort()
    assert [first for first, _ in ranges[1:]] == [stop for _, stop in ranges[:-1]]  # nothing was drawn twice
    # Process 0 shows the whole run, the others nothing.
    assert re.search(r"of 6\d\d,000 draws", launch.said(0))
    assert [launch.said(k) for k in (1, 2, 3)] == ["", "", ""]


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_a_sentence_and_the_run_goes_on_with_fewer(one, tmp_path, capsys):
    out, address = tmp_path / "run", f"127.0.0.1:{free_port()}"
    own = ["--coordinator", address, "--num-processes", "4", "--process-timeout", str(TIMEOUT)]
    launch = Launch(
        tmp_path,
        4,
        lambda k: [*WORDS, "--out", str(out), "--distributed", *own, "--process-id", str(k)],
        jax={"JAX_ENABLE_COMPILATION_CACHE": "0"},  # they are to end while they compile, and find nothing compiled
    )
    wait_for_work(out / "hosts", launch)
    os.kill(launch.pids[2], signal.SIGKILL)
    assert launch.codes() == [3, 3, -signal.SIGKILL, 3], [launch.said(k) for k in range(4)]
    for k in (0, 1, 3):
        said = f"process 2 ({socket.gethostname()}, pid {launch.pids[2]}) stopped answering; what was drawn is kept"
        assert f"volume: {said}: volume estimate --resume {out} goes on" in launch.said(k)
        assert "Traceback" not in launch.said(k)
        assert "stack trace" not in launch.said(k)
    assert not (out / "report.json").exists()
    kept = sorted((out / "parts").glob("*.parquet"))
    assert kept
    before = {part: part.stat().st_mtime_ns for part in kept}
    code, _, err = run(capsys, "estimate", "--resume", out)
    assert code == 0, err
    assert {part: part.stat().st_mtime_ns for part in kept} == before  # none was made again
    assert_same_report(one, out)


def wait_for_work(records, launch):
    """Until all processes have their shares, and begin to compile what draws them."""
    while launch.process.poll() is None:
        try:
            reached = json.loads((records / "process-0.json").read_bytes())["all"]
        except (OSError, ValueError):
            reached = None
        if reached == "restored":
            return
        time.sleep(0.01)
    pytest.fail(f"the launch ended before: {[launch.said(k) for k in range(4)]}")


def test_a_stopped_command_leaves_without_taking_jax_apart(monkeypatch):
    """Else what JAX compiles in a thread of its own ended the process with a segmentation fault, not with code 3."""
    left = []
    monkeypatch.setattr("volume.commands.main.main", lambda argv: 3)
    monkeypatch.setattr("os._exit", left.append)
    assert main(["estimate"]) == 3
    assert left == []  # a program that calls the command goes on
    main()
    assert left == [3]


# --- processes that watch each other, as threads ---


def members(folder, number, work, timeout=TIMEOUT):
    """What became of each of ``number`` members: None, or the error that ended it."""
    ended: list[BaseException | None] = [None] * number

    def member(k):
        try:
            with ProcessGroup(folder / "hosts", k, number, timeout=timeout, advice="go on") as group:
                group.join()
                group.barrier("opened")
                group.barrier("restored")
                work(k, group)
                group.barrier("finished")
        except BaseException as error:
            ended[k] = error

    threads = [threading.Thread(target=member, args=(k,)) for k in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def test_members_meet_and_the_first_knows_how_far_all_are(tmp_path):
    found = []

    def work(k, group):
        group.tell(k, 10 * k)
        if k == 0:
            while group.progress()[0] < 3:
                group.check()
                time.sleep(0.01)
            found.append(group.progress())

    assert members(tmp_path, 3, work) == [None, None, None]
    assert found == [(3, 30)]
    # The records that this launch leaves behind are not taken for a living launch.
    assert members(tmp_path, 4, lambda k, group: None) == [None] * 4


@pytest.mark.parametrize("failing", [0, 2])
def test_a_member_that_fails_ends_all_with_its_reason(failing, tmp_path):
    def work(k, group):
        if k == failing:
            raise ValueError("no such thing")
        while True:
            group.check()
            time.sleep(0.01)

    ended = members(tmp_path, 3, work)
    for k in range(3):
        if k == failing:
            assert isinstance(ended[k], ValueError)
        else:
            assert isinstance(ended[k], ProcessLost)
            assert re.fullmatch(
                rf"process {failing} \(.*, pid {os.getpid()}\) failed \(ValueError: no such thing\); go on",
                str(ended[k]),
            )


def test_members_that_do_not_see_one_folder_are_told_so(tmp_path):
    ended: dict = {}

    def member(k):
        try:
            with ProcessGroup(tmp_path / str(k) / "hosts", k, 2, timeout=0.5) as group:
                group.join()
        except TimeoutError as error:
            ended[k] = str(error)

    threads = [threading.Thread(target=member, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(2):
        assert f"Process {k} of 2 met no process {1 - k}" in ended[k]
        assert "all processes must see the same folder" in ended[k]


def test_a_second_launch_in_the_folder_is_refused(tmp_path):
    refused = []

    def work(k, group):
        if k == 0:
            said = r"in use by another launch, of 2 processes: process 0 \("
            second = ProcessGroup(tmp_path / "hosts", 1, 2, timeout=TIMEOUT)
            with pytest.raises(ValueError, match=said), second:
                second.join()
            refused.append(True)

    assert members(tmp_path, 2, work) == [None, None]
    assert refused == [True]


# --- what is said before anything is drawn ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--distributed"], "--distributed needs --out DIR"),
        (["--coordinator", "a:1"], "--coordinator belongs to --distributed"),
        (["--process-timeout", "9"], "--process-timeout belongs to --distributed"),
        (["--distributed", "--process-timeout", "0"], "no positive number of seconds"),
        (["--distributed", "--num-processes", "2", "--process-id", "2"], "numbered from 0"),
        (["--distributed"], "No cluster that JAX knows was detected"),
        (["--distributed", "--coordinator", "here"], "give HOST:PORT"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "OMPI_", "JAX_COORD", "KUBERNETES_"))]:
        monkeypatch.delenv(name)
    # Other tests may have asked JAX for devices, which JAX would complain of first.
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", bool)
    out = [] if "needs --out" in said else ["--out", "run"]
    code, _, err = run(capsys, *WORDS, *out, *words)
    assert code == 2
    assert said in err
    assert not Path("run/config.json").exists()


@pytest.mark.parametrize("numbers", [(-1, 2), (2, 2), (True, 2), (0, 0), (0, 1.5)])
def test_a_place_that_cannot_be_is_refused(numbers):
    with pytest.raises(ValueError, match="process"):
        volume.Hosts(process_id=numbers[0], num_processes=numbers[1])


def test_a_single_process_is_a_launch_of_one(tmp_path):
    """Places that a program knows by itself need no JAX to find them."""
    query, method, alone = PLANE, volume.Direct(draws=1000), volume.Hosts(process_id=0, num_processes=1)
    report = volume.estimate_distributed(query, method, alone, out=tmp_path / "run", seed=3)
    assert report is not None
    assert report.to_dict()["classes"] == volume.estimate(query, method, seed=3).to_dict()["classes"]
    with pytest.raises(FileExistsError, match="holds a run"):
        volume.estimate_distributed(query, method, alone, out=tmp_path / "run", seed=3)
    with pytest.raises(ValueError, match="belongs to another run"):
        volume.estimate_distributed(query, method, alone, out=tmp_path / "run", seed=4, resume=True)
