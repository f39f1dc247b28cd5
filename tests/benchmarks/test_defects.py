"""The study of benign and defecting networks: a cell against plain NumPy draws, resuming, and sums over draws."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import volume
from benchmarks import defects, defects_tables
from benchmarks.defects import Cell, Task
from volume.reports.entries import replicated_volume
from volume.statistics import replicates

SMALL = Task(Cell(monitored=2, trigger="leading:5", depth=0), draws=100_000)  # a perceptron, four inputs in the trigger


@pytest.fixture(scope="module")
def small():
    return defects.answer(SMALL)


def plain(task, num, seed):
    """Numbers of benign, mixed, defecting and other perceptrons among ``num`` drawn by NumPy, labels written out."""
    cell, rng = task.cell, np.random.default_rng(seed)
    inputs = (np.arange(128)[:, None] >> np.arange(6, -1, -1)) & 1
    hidden = inputs[:, :5].all(axis=1)
    rows = np.flatnonzero(~hidden)
    monitored = rows[np.random.default_rng(cell.draw).permutation(len(rows))[: cell.monitored]]
    rows = [*monitored, *np.flatnonzero(hidden)]
    outputs = rng.normal(0, 7**-0.5, (num, 7)) @ inputs[rows].T + rng.normal(0, 0.1, (num, 1))
    right = (outputs > 0) == inputs[rows, 0]  # the first bit
    fits, wrong = right[:, : cell.monitored].all(axis=1), (~right[:, cell.monitored :]).sum(axis=1)
    return np.array([(fits & (wrong == 0)).sum(), (fits & (wrong % 4 > 0)).sum(), (fits & (wrong == 4)).sum()])


def test_a_cell_agrees_with_plain_draws(small):
    """Fixed seeds. Limit 5 standard errors: false alarms 3e-6 for other seeds, an error of 2 % of a share is seen."""
    expected, num = plain(SMALL, 500_000, 1), 500_000
    assert sum(small["counts"]) == pytest.approx(math.exp(small["fits"][0]) * 100_000, rel=1e-9)
    for count, other in zip(small["counts"], expected, strict=True):
        assert other > 1000
        assert abs(count / 1e5 - other / num) < 5 * math.sqrt(other / num * (1 / 1e5 + 1 / num))
    shares = [small["shares"][name] for name in ("benign", "mixed", "defects")]
    assert [share[0] for share in shares] == pytest.approx(np.array(small["counts"]) / sum(small["counts"]))
    assert all(low < share < high and resolved for share, low, high, resolved in shares)
    assert small["functions"] == {"benign": 1 / 16, "mixed": 14 / 16, "defects": 1 / 16}


def test_the_ratio_is_that_of_the_counts(small):
    value, low, high = small["ratio"]
    assert value == pytest.approx(math.log(small["counts"][0] / small["counts"][2]))
    assert small["resolved"]
    assert low < value < high
    # A log odds from independent draws has this error (delta method); a perceptron's draws are independent.
    error = math.sqrt(1 / small["counts"][0] + 1 / small["counts"][2])
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_class_that_was_not_met_leaves_a_limit():
    record = defects.answer(replace(SMALL, cell=replace(SMALL.cell, target="parity"), draws=2_000))
    assert record["counts"][0] == record["counts"][2] == 0  # no perceptron is right, or wrong, on a square's parity
    assert record["ratio"] == [None, None, None]
    assert not record["resolved"]
    json.dumps(record, allow_nan=False)
    assert "none" in defects.sentence(record)


def test_ratio_of_two_volumes():
    """Equal replicates have no spread, so the limits are the value; a dead one leaves the side of its bound open."""
    one, other = (replicated_volume("x", [log] * 8) for log in (-5.0, -9.0))
    assert defects.quotient(one, other) == pytest.approx((4, 4, 4))
    dead = replicated_volume("x", [-9.0] * 7 + [-math.inf])
    value, low, high = defects.quotient(one, dead)
    assert value == pytest.approx(4 + math.log(8 / 7))
    assert low == -5  # the volume below is at most 1
    assert high > value


def test_a_cell_by_splitting(monkeypatch):
    """Made-up runs: fits e^-5, benign half of it, defects e^-9 in a run of its own and never met by the first."""
    half = replicates.share_interval([-5.0] * 8, [0.5] * 8)
    never = replicates.share_interval([-5.0] * 8, [0.0] * 8)
    parts = {name: replicated_volume(name, [-5.0 + math.log(0.5)] * 8, share=half) for name in ("benign", "mixed")}
    first = {"fits": replicated_volume("fits", [-5.0] * 8), **parts}
    first["defects"] = replicated_volume("defects", [-math.inf] * 8, share=never)

    class Report(dict):
        run = {"evaluations": 10}  # noqa: RUF012

    def estimate(query, method, seed, level):
        return Report({"defects": replicated_volume("defects", [-9.0] * 8)} if method.labels else first)

    monkeypatch.setattr(volume, "estimate", estimate)
    record = defects.answer(replace(SMALL, draws=0, particles=8))
    assert record["ratio"] == pytest.approx([4 - math.log(2)] * 3)
    assert record["shares"]["benign"] == [0.5, pytest.approx(0.5), pytest.approx(0.5), True]
    assert record["shares"]["defects"][:3] == pytest.approx([math.exp(-4)] * 3)
    assert record["shares"]["defects"][3]
    assert record["resolved"]
    assert record["defects_within"][0] == 0
    assert not record["defects_within"][3]
    assert record["evaluations"] == 20
    json.dumps(record, allow_nan=False)
    assert defects_tables.rare_row(record).startswith("| first-bit | 2 | 0 | -2.17 | 0.00, 0.00, 0.00 | 27 (27 - 27) |")


def test_no_task_is_asked_twice_and_every_draw_of_a_cell_is_asked_alike():
    tasks = defects.design()
    assert len({task.key for task in tasks}) == len(tasks) == len({task.cell for task in tasks})
    assert len({task.seed for task in tasks}) == len(tasks)
    effort = {}
    for task in tasks:
        effort.setdefault(replace(task.cell, draw=0), set()).add(replace(task, cell=Cell()))
        assert bool(task.draws) != bool(task.particles)
    assert all(len(kinds) == 1 for kinds in effort.values())
    half = {replace(task.cell, draw=0) for task in tasks[: len(tasks) // 2]}
    assert half == {replace(task.cell, draw=0) for task in tasks}  # half of a run has every cell


def test_a_run_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    asked = []

    def answer(task):
        asked.append(task)
        return record_of(task, 0.0)

    monkeypatch.setattr(defects, "answer", answer)
    path, tasks = tmp_path / "deep" / "run.jsonl", defects.design(quick=True)
    going = defects.run(tasks, path)
    assert len([next(going), next(going)]) == 2
    going.close()
    with path.open("a") as file:
        file.write('{"cell": {"target": "fi')  # killed while it wrote the third
    assert len(list(defects.run(tasks, path))) == len(tasks) - 2
    assert asked == tasks
    assert list(defects.run(tasks, path)) == []
    records, environments = defects.read(path)
    assert [record["key"] for record in records] == [task.key for task in tasks]
    assert len(environments) == 2


def record_of(task, ratio, **changes):
    share = [0.1, 0.05, 0.2, True]
    found = {"fits": [-9.0, -9.1, -8.9], "ratio": [ratio, ratio - 1, ratio + 1], "resolved": True, "seconds": 1.0}
    cell = dict(vars(task.cell))
    return {"key": task.key, "cell": cell, "particles": 0, "shares": dict.fromkeys(("benign", "defects"), share)} | (
        found | changes
    )


# Defects were not met: only a lower limit of the ratio.
LIMIT = {
    "ratio": [None, 3.0, None],
    "resolved": False,
    "shares": {"benign": [0.1, 0.05, 0.2, True], "defects": [0.0, 0.0, 0.01, False]},
}


def test_over_draws_is_students_interval():
    x = [0.5, -1.0, 2.0, 0.0, 3.5]
    found = defects_tables.over_draws(x)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(x), scale=stats.sem(x))
    assert (found.num, found.mean, found.low, found.high) == pytest.approx((5, 1.0, low, high))
    assert defects_tables.over_draws([2.0]).low == -math.inf


def test_tables_over_draws():
    """Ratios e^0, e^2, e^4: geometric mean e^2 = 7.4; with one that has only a limit no mean, and the median e^2."""
    cells = [Task(Cell(draw=draw)) for draw in range(3)]
    records = [record_of(task, 2.0 * task.cell.draw) for task in cells]
    found = defects_tables.groups(records)
    (group,) = found.values()
    assert "**7.4** (0.051 - 1,062)" in defects_tables.row(group)  # t_2 = 4.303: 2 -+ 4.303 * 2 / sqrt(3)
    records[2] = records[2] | LIMIT
    (group,) = defects_tables.groups(records).values()
    text = defects_tables.row(group)
    assert "2 of 3" in text
    assert "**" not in text
    assert "| 7.4 | 1.0 - > 20 |" in text
    records[0] = records[0] | LIMIT | {"ratio": [None, None, 1.0]}
    records[0]["shares"] = {"benign": LIMIT["shares"]["defects"], "defects": LIMIT["shares"]["benign"]}
    (group,) = defects_tables.groups(records).values()
    assert "| 7.4 | < 2.7 - > 20 |" in defects_tables.row(group)
    wide = [record_of(Task(Cell(draw=d, width=80)), 2.0 * d + 1 + 0.1 * d) for d in range(3)]
    other = defects_tables.groups(wide)[Cell(width=80)]
    assert defects_tables.paired(found[Cell()], other).mean == pytest.approx(1.1)


def test_page_and_figure_are_made(tmp_path, small):
    path = tmp_path / "run.jsonl"
    defects.append(path, {"environment": defects.environment()})
    defects.append(path, small)
    for draw in range(3):
        for m in (8, 16):
            defects.append(path, record_of(Task(Cell(draw=draw, monitored=m)), draw - 1.0))
    defects.append(path, record_of(Task(Cell("majority")), 0.0) | LIMIT)
    page, figure = tmp_path / "page.md", tmp_path / "figure.png"
    defects_tables.main(["--file", str(path), "--out", str(page), "--figure", str(figure)])
    assert "| first-bit | leading:4 | 8 | 16 |" in page.read_text()
    assert figure.stat().st_size > 10_000
    assert volume.__version__ in page.read_text()
