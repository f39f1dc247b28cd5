"""The benchmarks as a tool: registry, records, tables, runner and comparison; flips are counted where they are known.

The only chance is in `test_flips_are_seen_where_operands_are_short`, whose docstring names its false alarms.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from checkout import ROOT

from benchmarks import __main__ as runner
from benchmarks import (
    comparison,
    environment,
    exact,
    exact_tables,
    limits,
    orthant,
    precision,
    registry,
    script,
    trained,
)
from benchmarks.record import FORMAT, VERSION, Record, Row, body, cell, markdown, sentence, strict, table
from benchmarks.registry import BENCHMARKS, PAGES, Benchmark
from volume import BooleanCube
from volume.models import MLP
from volume.samplers import Lattice


def finished(rows, name="made up", **fields):
    """A record as a script writes it."""
    found = script.document(name, Record(rows, **fields), {"quick": True}, environment.Load().so_far(), "a date")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def check_markdown(text):
    """Every line of a table has the cells of its head, and the second line is the rule."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.M)
    assert blocks
    for block in blocks:
        lines = block.strip().split("\n")
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(counts) == 1, block
        assert set(lines[1]) == {"|", "-"}


# ------------------------------------------------------------------------------------------------- registry


def test_no_script_is_forgotten():
    """A script is in the registry or stands in the list as one that prints its own tables; pages measure nothing."""
    known = [each.name for each in registry.discovered()]
    assert len(known) == len(set(known))
    assert set(known) | set(PAGES) == set(registry.scripts())
    assert {each.name for each in BENCHMARKS} <= set(known)
    assert set(PAGES.values()) <= {each.name for each in BENCHMARKS}


@pytest.mark.parametrize("each", BENCHMARKS, ids=lambda each: each.name)
def test_every_entry_is_what_it_says(each):
    source = (ROOT / "benchmarks" / f"{each.name}.py").read_text()
    assert f'script.main("{each.name}",' in source, "the script must give a record under its own name"
    assert "script.options(" in source
    assert each.kind in registry.KINDS
    assert each.minutes is not None
    assert each.minutes[0] >= each.minutes[1] > 0
    assert set(each.extras) <= set(registry.PEERS)
    pages = re.findall(r"README|docs/\w+\.md", each.claims.split(":")[0])
    assert pages
    for page in pages:
        assert (ROOT / (page if page.endswith(".md") else f"{page}.md")).is_file()


def test_a_script_that_nobody_listed_is_found(tmp_path):
    (tmp_path / "fresh.py").write_text(
        '"""What it is for.\n\nMore."""\nif __name__ == "__main__":\n    print("| 1 |")\n'
    )
    (tmp_path / "helper.py").write_text("x = 1\n")
    end = "if __name__ == '__main__':\n    "
    (tmp_path / "record.py").write_text(f"{end}script.main('record', run, parser)\n")
    *_, last, writes = registry.discovered(tmp_path)
    assert (writes.name, writes.kind, writes.plain) == ("record", "other", False)
    assert (last.name, last.purpose, last.kind, last.plain, last.cost(True)) == (
        "fresh",
        "What it is for.",
        "other",
        True,
        None,
    )


def test_missing_peers_are_said(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    assert list(registry.missing(("torch", "sklearn"))) == ["PyTorch", "scikit-learn"]
    text = body(finished([Row("a", "s", 1.0, peers={"NumPy": None})], missing=registry.missing(("torch",))))
    assert "Not beside us, because not installed: PyTorch (python -m pip install 'param-volume[bench]')." in text


def test_a_list_needs_no_array_library():
    check = "import sys, benchmarks.__main__ as m; m.main(['--list']); print('jax' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.endswith("False\n")
    check_markdown(answer.stdout)
    assert all(f"| {each.name} |" in answer.stdout for each in BENCHMARKS)


def test_which_are_chosen():
    known = [*BENCHMARKS, Benchmark("fresh", "other", "", "", None, plain=True)]
    names = [each.name for each in BENCHMARKS]
    assert [each.name for each in runner.chosen(known)] == names, "what nobody listed runs only when it is named"
    assert [each.name for each in runner.chosen(known, ["fresh", "exact"])] == ["fresh", "exact"]
    assert [each.name for each in runner.chosen(known, only=["other"])] == ["fresh"]
    speed = [each.name for each in BENCHMARKS if each.kind == "speed" and each.name != "exact"]
    assert [each.name for each in runner.chosen(known, only=["speed"], skip=["exact"])] == speed
    assert {each.kind for each in runner.chosen(known, skip=["study", "coverage"])} == {"speed"}
    with pytest.raises(ValueError, match="no benchmark 'thruput'; there are throughput, "):
        runner.chosen(known, ["thruput"])


# ------------------------------------------------------------------------------------------------- records


def test_records_are_strict_json():
    given = {
        "a": math.nan,
        "b": [math.inf, np.float32(0.5)],
        "c": np.arange(2),
        "d": Path("x"),
        5: True,
        "e": np.int64(3),
    }
    assert strict(given) == {"a": None, "b": [None, 0.5], "c": [0, 1], "d": "x", "5": True, "e": 3}
    json.dumps(strict(given), allow_nan=False)


def test_cells():
    values = (None, math.nan, True, 12345, 0.0, 1234.56, 0.00001234, 3.14159, 1e12, "a|b\nc")
    words = ["", "", "yes", "12,345", "0", "1,235", "1.23e-05", "3.142", "1e+12", "a\\|b c"]
    assert [cell(value) for value in values] == words
    with pytest.raises(ValueError, match="2 cells in a table of 3 columns"):
        markdown(("a", "b", "c"), [(1, 2)])


def test_a_table_has_figures_ratios_limits_and_facts():
    rows = [
        Row("one", "f/s", 200.0, 150.0, 300.0, {"them": 50.0}, limits={"peak": 800.0}, facts={"z": -1.5}),
        Row(
            "two", "f/s", 10.0, peers={"them": 40.0, "others": None}, ratios={"them": 0.3}, ranges={"them": (0.2, 0.4)}
        ),
    ]
    assert table([row.to_dict() for row in rows]) == (
        "|  | this library, f/s | them | others | ours / them | share of peak | z |\n|---|---|---|---|---|---|---|\n"
        "| one | 200 (150 to 300) | 50 |  | 4 | 25 % | -1.5 |\n"
        "| two | 10 | 40 |  | 0.3 (0.2 to 0.4) |  |  |"
    )
    assert sentence(rows[0]) == "one: 200 (150 to 300) f/s, 4 x them, z -1.5"
    # Facts alone, and units that differ.
    assert table([Row("a", facts={"x": 1}).to_dict()]) == "|  | x |\n|---|---|\n| a | 1 |"
    assert table([Row("a", "s", 1.0).to_dict(), Row("b", "m", 2.0).to_dict()]).startswith("|  | this library | unit |")


def test_a_page_says_how_busy_the_machine_was(monkeypatch):
    """1.5 processors of others out of 2: 8 s of everything less 2 s of ours in 4 s."""
    clock = iter([0.0, 4.0])
    monkeypatch.setattr(environment, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(environment, "busy_seconds", iter([100.0, 108.0]).__next__)
    monkeypatch.setattr(environment, "own_seconds", iter([1.0, 3.0]).__next__)
    load = environment.Load().so_far()
    monkeypatch.undo()
    assert (load["others"], load["seconds"], load["cpu_seconds"]) == (1.5, 4.0, 2.0)
    found = finished([Row("a", "s", 1.0)]) | {"load": load}
    found["environment"]["cores"] = 2
    assert "Other work took 1.5 of 2 cores meanwhile: a LOADED machine" in body(found)
    assert "LOADED" not in body(found | {"load": load | {"others": 0.1}})
    assert "not known" in body(found | {"load": {"average": None, "others": None}})


def test_limits_are_measured(monkeypatch):
    monkeypatch.setattr(limits, "SIZES", {"cpu": (64, 1000, 1000)})
    found = limits.measure.__wrapped__("default", "float64", 1)
    assert set(found) == {"matmul_flops", "normals", "bytes"}
    assert all(math.isfinite(value) and value > 0 for value in found.values())
    # (7,40,40,1): 1,920 weights below the head, 40 in it; a body serves 20 heads, a head 5 bodies.
    assert limits.layer_flops((7, 40, 40, 1), 128) == 2 * 128 * (1880 + 40)
    assert limits.layer_flops((7, 40, 40, 1), 128, heads=20) == 2 * 128 * (1880 / 20 + 40)
    assert limits.layer_normals((7, 40, 40, 1), heads=20, bodies=5) == 1880 / 20 + 40 / 5


# ------------------------------------------------------------------------------------------------- scripts, tiny


def test_a_script_writes_what_it_prints(tmp_path, capsys):
    options = script.options("words", "less")
    options.add_argument("--check", action="store_true")
    options.add_argument("--only", default="")
    options.add_argument("--out", type=Path, default=exact_tables.FOLDER)
    given = [
        "--check",
        "--only",
        "2-2-1-sign",
        "--json",
        str(tmp_path / "a" / "r.json"),
        "--table",
        str(tmp_path / "t.md"),
    ]
    script.main("exact_tables", exact_tables.run, options, given, title="A title")
    found = json.loads((tmp_path / "a" / "r.json").read_text())
    assert (found["format"], found["version"], found["benchmark"]) == (FORMAT, VERSION, "exact_tables")
    assert found["options"] == {"quick": False, "check": True, "only": "2-2-1-sign", "out": str(exact_tables.FOLDER)}
    assert [row["facts"]["as stored"] for row in found["rows"]] == [True] * 3
    printed = capsys.readouterr()
    assert (tmp_path / "t.md").read_text() == f"# A title\n\n{printed.out[:-1]}"
    check_markdown(printed.out)
    assert "2-2-1-sign-binary-pm: parameterisations 64" in printed.err


def test_a_figure_that_must_not_be_believed_ends_in_failure(tmp_path, capsys):
    words = ["--json", str(tmp_path / "r.json")]
    with pytest.raises(SystemExit) as ended:
        script.main("x", lambda given: Record([Row("a")], failure="it is wrong"), script.options("", ""), words)
    assert ended.value.code == "it is wrong"
    assert json.loads((tmp_path / "r.json").read_text())["failure"] == "it is wrong"
    assert "Not to be believed: it is wrong" in capsys.readouterr().out


def test_small_benchmarks_give_tables():
    case = exact.Case("2-2-1 relu binary", MLP((2, 2, 1), bias=False), Lattice.binary(), BooleanCube(2))
    counted = exact.rows_of(exact.measure(case, 1, exact.time.perf_counter))
    assert [row.name for row in counted] == ["2-2-1 relu binary, blocks", "2-2-1 relu binary, sums"]
    tilted = orthant.measure("chain", 16, 1)
    assert abs(tilted.facts["z"]) < 6  # of one seed: an error of 6 says that the truth is another
    setting = trained.SETTINGS[0]
    turns = {
        name: [trained.Result(runs, 10 * runs, s, 2 * s) for s in (1.0, 2.0)]
        for name, runs in (("this library", 8), ("x", 2))
    }
    by_clock, by_processor = trained.rows_of(setting, turns, {"matmul_flops": 1e9})
    assert by_clock.ratios == {"x": 4.0}
    assert (by_clock.ours, by_processor.ours) == (6.0, 3.0)
    for rows in (counted, [tilted], [by_clock, by_processor]):
        check_markdown(script.page(finished(rows)))


# ------------------------------------------------------------------------------------------------- precision


def test_rounding_keeps_so_many_bits():
    x = np.array([1, 1 + 2**-7, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-10, -(1 + 2**-8 + 2**-20), 0, 3e38], np.float32)
    bfloat = np.asarray(jax.numpy.asarray(x).astype("bfloat16").astype("float32"))
    np.testing.assert_array_equal(precision.rounded(jax.numpy.asarray(x), 7), bfloat)
    tf32 = precision.rounded(
        jax.numpy.asarray([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, -(1 + 2**-12)], dtype="float32"), 10
    )
    np.testing.assert_array_equal(tf32, np.array([1 + 2**-10, 1, 1 + 2**-9, -1], np.float32))


def test_a_flip_is_counted_where_it_must_be():
    """Output 2^-9 on input (1, 1): bfloat16 operands round it to 0, which is the other class; TF32 ones do not."""
    weights = [np.array([[[1 + 2**-9], [-1.0]], [[2.0], [1.0]]], np.float32)]
    inputs = np.array([[1, 1], [1, 0], [0, 1]], np.float32)
    exactly = np.asarray(precision.decide(weights, inputs, precision.at("highest")))
    np.testing.assert_array_equal(exactly, [[True, True, False], [True, True, True]])
    for bits, expected in ((7, (1, 1)), (10, (0, 0))):
        found = precision.Flips()
        found.add(np.asarray(precision.decide(weights, inputs, precision.rounding(bits))), exactly)
        assert (found.flipped, found.functions, found.draws, found.decisions) == (*expected, 2, 6)
    found.add(np.array([[1, 2, 3]]), np.array([[1, 0, 0]]))
    assert (found.flipped, found.functions, found.draws, found.decisions) == (2, 1, 3, 9)


@pytest.mark.parametrize("widths", [pytest.param((7, 40, 40, 1), marks=pytest.mark.slow), (7, 9, 3)])
def test_networks_decide_as_the_library_says(widths):
    model = MLP(widths, activation="relu", bias=False)
    inputs = np.asarray(BooleanCube(7).inputs, np.float32)
    weights = precision.draw(jax.random.key(0), widths, 50)
    decided = np.asarray(precision.decide(weights, inputs, precision.at("highest")))
    names = [parameter.name for parameter in model.parameters]
    networks: Any = dict(zip(names, weights, strict=True))
    outputs = np.asarray(jax.jit(jax.vmap(model.apply, (0, None)))(networks, inputs))
    expected = outputs[..., 0] > 0 if widths[-1] == 1 else outputs.argmax(-1)
    assert (decided != expected).sum() <= 2  # 6,400 decisions; another order of sums may turn one within 1e-7 of a tie


@pytest.mark.slow
def test_flips_are_seen_where_operands_are_short():
    """On a CPU nothing flips between precisions. With 2,000 draws about 34 functions flip in TF32 and 270 in bfloat16:
    none in TF32, or fewer in bfloat16 than in TF32, has a probability below 1e-14. About 1.3 functions have an output
    within rounding of a tie, so that more than 20 that float64 decides otherwise have one below 1e-16."""
    case = precision.Case("small", (7, 40, 40, 1), np.asarray(BooleanCube(7).inputs), 1)
    rows = {row.name.split(", ", 1)[1]: row for row in precision.flip_rows(case, 2000, 0)}
    count = {name: row.facts["functions flipped"] for name, row in rows.items()}
    if jax.devices()[0].platform == "cpu":
        assert count["default"] == count["high"] == 0
    assert 0 < count["TF32 operands, simulated"] < count["bfloat16 operands, simulated"]
    assert count["highest against float64"] <= 20
    assert all(row.facts["of"] == 2000 and row.facts["of them all"] == 256_000 for row in rows.values())
    for row in rows.values():
        low, ours, high = (float(value or 0) for value in (row.low, row.ours, row.high))
        assert low <= ours <= high
    check_markdown(script.page(finished(list(rows.values()))))


# ------------------------------------------------------------------------------------------------- runner


@pytest.fixture
def folder(tmp_path):
    """Three scripts: one gives a record, one prints its own table, one fails after a line."""
    record = finished([Row("a", "f/s", 4.0, peers={"them": 2.0})], "good")
    text = json.dumps(json.dumps(record))
    write = f"import sys\nwith open(sys.argv[sys.argv.index('--json') + 1], 'w') as f:\n    f.write({text})\n"
    end = "if __name__ == '__main__':\n    "
    (tmp_path / "good.py").write_text(write)
    (tmp_path / "plain.py").write_text(f'"""Prints."""\n{end}print("| my | table |")\n')
    (tmp_path / "bad.py").write_text(
        f'"""Fails."""\n{end}print("so far so good")\n    raise SystemExit("going wrong")\n'
    )
    return tmp_path


GOOD = Benchmark("good", "speed", "to be good", "", (5, 0.1))
BAD = Benchmark("bad", "speed", "to fail", "", (5, 0.1))


def test_one_that_fails_stops_no_other(folder, capsys):
    out = folder / "out"
    out.mkdir()
    ends = runner.run_all([BAD, GOOD], out, quick=True, folder=folder)
    assert [(end.name, end.state) for end in ends] == [("bad", "failed"), ("good", "done")]
    told = capsys.readouterr().err
    assert "so far so good" in told
    assert "going wrong" in told
    assert (out / "bad.log").read_text() == "going wrong\nso far so good\n"
    found = runner.records(out, [BAD, GOOD])
    assert list(found) == ["good"]
    text = runner.results_page(found, [BAD, GOOD], ends)
    check_markdown(text)
    assert "| a | 4 | 2 | 2 |" in text
    assert "`python benchmarks/good.py --quick` (quick: " in text
    assert "| bad | failed | exit code 1; see bad.log |" in text
    assert text.count("matmul precision highest") == 1


def test_what_is_finished_is_kept(folder):
    """In the same size and words, and only if its figures may be believed."""
    out = folder / "out"
    out.mkdir()
    again = {"resume": True}
    ways: list[Any] = [{}, again, again | {"quick": True}, again | {"extra": ["--n", "1"]}, {}]
    states = [runner.run_all([GOOD], out, folder=folder, **how)[0].state for how in ways]
    assert states == ["done", "kept", "done", "done", "done"]
    path = out / "good.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"failure": "wrong"}))
    assert runner.run_all([GOOD], out, resume=True, folder=folder)[0].state == "done"
    script.write_json(path, finished([Row("a")], "good"))  # made by the script alone: in which size?
    assert runner.run_all([GOOD], out, resume=True, folder=folder)[0].state == "done"
    path.write_text(path.read_text()[:-9])  # torn
    assert runner.run_all([GOOD], out, resume=True, folder=folder)[0].state == "done"


def test_a_budget_leaves_out_what_would_not_fit(folder):
    out = folder / "out"
    out.mkdir()
    unknown = Benchmark("plain", "other", "", "", None, plain=True)
    first, second = runner.run_all([GOOD, unknown], out, budget=1, folder=folder)
    assert (first.state, first.why) == ("left out", "it takes about 5 minutes, 1.0 of 1 are left")
    assert (second.state, second.why[:23]) == ("left out", "its cost is unknown, 1.")
    assert runner.run_all([GOOD], out, budget=1, quick=True, folder=folder)[0].state == "done"


def test_exit_codes(folder, capsys, monkeypatch):
    out = folder / "out"
    assert runner.main(["plain", "bad", "--out", str(out)], folder) == runner.FAILED
    text = (out / "RESULTS.md").read_text()
    assert "## plain" in text
    assert "| my | table |" in text
    results = json.loads((out / "results.json").read_text())
    assert list(results["records"]) == ["plain"]
    assert {name: end["state"] for name, end in results["ends"].items()} == {"plain": "done", "bad": "failed"}
    assert runner.main(["plain", "--out", str(out)], folder) == runner.DONE
    assert runner.main(["nothing"], folder) == runner.USAGE
    assert runner.main(["plain", "bad", "--", "--x"], folder) == runner.USAGE
    assert runner.main(["plain", "--skip", "plain"], folder) == runner.USAGE
    with pytest.raises(SystemExit) as ended:
        runner.main(["plain", "--budget", "0"], folder)
    assert ended.value.code == 2

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "watch", interrupted)
    assert runner.main(["plain", "bad", "--out", str(out)], folder) == runner.STOPPED
    assert "after Ctrl-C" in (out / "RESULTS.md").read_text()
    capsys.readouterr()


# ------------------------------------------------------------------------------------------------- comparison


def stored(path, ours, ends, **fields):
    """Results of one benchmark whose ratio to a peer is ``ours`` / 2."""
    row = Row(
        "a", "f/s", ours, peers={"them": 2.0}, ranges={"them": ends} if ends else {}, limits={"peak": 8.0}, section="S"
    )
    records = {"x": finished([row], "x") | fields}
    path.write_text(json.dumps({"format": f"{FORMAT}s", "version": 1, "ends": {}, "records": records}))
    return path


def test_runs_are_compared_by_ratios(tmp_path):
    old, new = stored(tmp_path / "o", 4.0, (1.9, 2.1)), stored(tmp_path / "n", 6.0, (2.5, 3.5))
    text = comparison.compare(old, new)
    check_markdown(text)
    assert "| x | S: a | ours / them | 2 (1.9 to 2.1) | 3 (2.5 to 3.5) | 1.5 | apart |" in text
    assert "| x | S: a | share of peak | 0.5 | 0.75 | 1.5 |  |" in text
    assert "| 1.5 | meet |" in comparison.compare(old, stored(tmp_path / "n", 6.0, (2.0, 3.5)))
    assert "| 1.5 |  |" in comparison.compare(old, stored(tmp_path / "n", 6.0, None))
    assert "Of few repeats" in comparison.compare(old, stored(tmp_path / "n", 6.0, None, quick=True))


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    old = stored(tmp_path / "o", 4.0, None)
    (tmp_path / "z").write_text("{}")
    with pytest.raises(ValueError, match="holds no results: its format"):
        comparison.compare(old, tmp_path / "z")
    with pytest.raises(ValueError, match="holds no results: give what"):
        comparison.compare(old, tmp_path)
    (tmp_path / "y").write_text(json.dumps(finished([Row("b")], "y")))
    with pytest.raises(ValueError, match="share no ratio"):
        comparison.compare(old, tmp_path / "y")
    assert runner.main(["--compare", str(old), str(tmp_path / "y")]) == runner.USAGE
    assert runner.main(["--compare", str(old), str(old)]) == runner.DONE
    assert "| 1 |" in capsys.readouterr().out


def test_options_that_every_script_takes():
    given = script.options("words", "less").parse_args(["--quick"])
    assert given == argparse.Namespace(quick=True, json=None, table=None)
