"""The study of guess and check: a cell against plain NumPy draws, the ratio's error, resuming, and sums over draws."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import volume
from benchmarks import guess_and_check, guess_and_check_tables
from benchmarks.defects import append, read
from benchmarks.environment import environment
from benchmarks.guess_and_check import Cell, Task
from volume.reports.entries import replicated_volume

pytest.importorskip("sklearn")

SMALL = Task(Cell(width=4, train=4), draws=20_000)


@pytest.fixture(scope="module")
def small():
    return guess_and_check.answer(SMALL)


def plain(num, seed):
    """Test accuracies of ``num`` networks of SMALL drawn by NumPy, those that fit: images and labels written out."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    rows = np.flatnonzero((digits == 0) | (digits == 7))
    inputs, sevens, rng = images[rows] / 16, digits[rows] == 7, np.random.default_rng(0)
    zeros, others = (rng.permutation(np.flatnonzero(sevens == label)) for label in (False, True))
    fitted = np.concatenate([zeros[:2], others[:2]])
    rng = np.random.default_rng(seed)
    hidden = inputs @ rng.normal(0, (2 / 64) ** 0.5, (num, 64, 4)) + rng.normal(0, 0.1, (num, 1, 4))
    outputs = np.maximum(hidden, 0) @ rng.normal(0, (2 / 4) ** 0.5, (num, 4, 1)) + rng.normal(0, 0.1, (num, 1, 1))
    right = (outputs[..., 0] > 0) == sevens
    return np.delete(right, fitted, axis=1).mean(axis=1)[right[:, fitted].all(axis=1)]


@pytest.mark.slow
def test_a_cell_agrees_with_plain_draws(small):
    """Fixed seeds. Limit 5 standard errors: false alarms 6e-7 for other seeds, a shift of .04 would be seen."""
    found = plain(10_000, 1)
    mean, error = small["accuracy"]
    assert len(found) > 200
    assert abs(mean - found.mean()) < 5 * math.hypot(error, found.std() / math.sqrt(len(found)))
    share = math.exp(small["log_volume"])
    assert share == pytest.approx(small["hits"] / small["drawn"])
    # Draws of one unit share bodies: 4 times the binomial variance is more than the design effect at this share.
    assert abs(share - len(found) / 10_000) < 5 * math.sqrt(share * (4 / small["drawn"] + 1 / 10_000))
    assert small["tested"] == 357 - 4
    json.dumps(small, allow_nan=False)


def test_one_set_of_networks_answers_every_size(small):
    """What fits 8 images fits the 4 of them that come first, so it is rarer, and no network is drawn again."""
    task = replace(SMALL, cell=replace(SMALL.cell, train=8))
    drawn = guess_and_check._drawn.cache_info().misses
    eight = guess_and_check.answer(task)
    assert guess_and_check._drawn.cache_info().misses == drawn
    assert task.seed == SMALL.seed
    assert task.key != SMALL.key
    assert 0 < eight["hits"] < small["hits"]
    assert set(SMALL.cell.rows[0]) < set(task.cell.rows[0])


def test_training_images_are_half_of_each_digit_and_never_tested():
    for draw in range(3):
        cell = Cell(train=16, draw=draw)
        fitted, tested = cell.rows
        assert guess_and_check.images()[1][fitted].sum() == 8
        assert sorted([*fitted, *tested]) == list(range(357))
    assert set(Cell(draw=0).rows[0]) != set(Cell(draw=1).rows[0])
    with pytest.raises(ValueError, match="even number"):
        _ = Cell(train=3).rows


def test_priors_have_one_variance():
    weights = volume.models.MLP((64, 100, 1)).parameters
    sizes = {}
    for name, prior in guess_and_check.PRIORS.items():
        z = {p.name: np.linspace(-6, 6, math.prod(p.shape)).reshape(p.shape) for p in weights}
        at = stats.norm.pdf(z["0.weight"])
        theta = np.asarray(prior.transform(z, weights)["0.weight"])
        sizes[name] = float((at * theta**2).sum() / at.sum())
    assert sizes == pytest.approx({"gaussian": 2 / 64, "uniform": 2 / 64}, rel=1e-3)


def test_the_error_of_a_ratio_is_that_of_the_draws():
    """Units of 10 draws each, all iid: the error must be the plain one of a mean over the draws that fit.

    2,000 units: the estimated error has a relative error of about 2 %, so 15 % is 7 of its own; a wrong B or a lost
    square root is seen.
    """
    rng = np.random.default_rng(0)
    fits, accuracy = rng.random((2000, 10)) < 0.3, rng.beta(8, 2, (2000, 10))
    mean, error = guess_and_check.ratio((fits * accuracy).sum(1), fits.sum(1))
    assert mean == pytest.approx(accuracy[fits].mean())
    assert error == pytest.approx(accuracy[fits].std() / math.sqrt(fits.sum()), rel=0.15)
    assert guess_and_check.ratio(np.ones(4), np.array([1.0, 1, 1, 0])) == [None, None]
    assert guess_and_check.ratio(np.array([0.5, 1, 0, 1]), np.ones(4))[0] == 0.625


@pytest.mark.slow
def test_a_cell_by_training():
    record = guess_and_check.answer(Task(SMALL.cell, runs=32))
    assert record["ends"]["runs"] == 32
    assert record["hits"] == record["ends"]["fit"] > 16
    assert record["log_volume"] == pytest.approx(math.log(record["hits"] / 32))
    assert 0.5 < record["accuracy"][0] < 1
    assert record["updates"] > 0
    assert record["way"] == "sgd+0"
    json.dumps(record, allow_nan=False)


def test_a_cell_by_splitting(monkeypatch):
    """Made-up replicates of estimates 1, 3, 2, 2, all of their networks at accuracy 1, 1/2, 1, 1/2: the mean weighs the
    accuracies by the estimates."""
    logs = [math.log(1), math.log(3)] + [math.log(2)] * 2
    never = [-math.inf] * 4
    parts = {"0/2": never, "1/2": [-math.inf, math.log(3), -math.inf, math.log(2)]}
    parts["2/2"] = [0.0, -math.inf, math.log(2), -math.inf]

    class Report:
        entries = (replicated_volume("fits", logs), *(replicated_volume(name, log) for name, log in parts.items()))

    monkeypatch.setattr(volume, "estimate", lambda query, method, seed: Report)
    record = guess_and_check.answer(replace(SMALL, draws=0, particles=8))
    assert record["accuracy"][0] == pytest.approx((1 + 3 / 2 + 2 + 2 / 2) / 8)
    assert record["log_volume"] == pytest.approx(math.log(2))
    assert record["hits"] == 4
    assert record["way"] == "splitting"
    json.dumps(record, allow_nan=False)


def test_no_task_is_asked_twice_and_networks_are_shared_only_across_sizes():
    tasks = guess_and_check.design()
    assert len({task.key for task in tasks}) == len(tasks)
    seeds = {}
    for task in tasks:
        assert sum(map(bool, (task.draws, task.particles, task.runs))) == 1
        seeds.setdefault(task.seed, set()).add(replace(task, cell=replace(task.cell, train=0)))
    assert all(len(group) == 1 for group in seeds.values())


def test_only_another_learning_rate_changes_a_key():
    """Cells answered before the rate was varied are found again."""
    usual, other = Task(Cell(), runs=8), Task(Cell(), runs=8, rate=0.4)
    assert "rate" not in usual.key
    assert '"rate": 0.4' in other.key
    assert usual.seed != other.seed
    assert (usual.way, other.way) == ("sgd+0", "sgd+0 at 0.4")


def test_a_run_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(guess_and_check, "answer", lambda task: record_of(task, 0.9))
    path, tasks = tmp_path / "deep" / "run.jsonl", guess_and_check.design(quick=True)
    going = guess_and_check.run(tasks, path)
    assert len([next(going), next(going)]) == 2
    going.close()
    with path.open("a") as file:
        file.write('{"cell": {"prior": "ga')  # killed while it wrote the third
    assert len(list(guess_and_check.run(tasks, path))) == len(tasks) - 2
    assert list(guess_and_check.run(tasks, path)) == []
    records, environments = read(path)
    assert [record["key"] for record in records] == [task.key for task in tasks]
    assert len(environments) == 2


def record_of(task, accuracy, error=0.01):
    ends = {"runs": 8, "fit": 6, "lost": 0, "never": 2, "nonfinite": 0}
    known = {
        "accuracy": [accuracy, None if accuracy is None else error],
        "log_volume": -2.0,
        "hits": 6,
        "ends": ends,
        "updates": 5.0,
    }
    return {"key": task.key, "cell": dict(vars(task.cell)), "way": task.way, "seconds": 1.0, **known}


def made_up():
    """Volume .8, .85, .9 whatever the network; SGD 0, 1, 2 points above at width 4 and 3, 3, 6 above at width 64."""
    records = []
    for draw in range(3):
        for width, above in ((4, (0, 1, 2)), (64, (3, 3, 6))):
            cell, accuracy = Cell(width=width, draw=draw), 0.8 + 0.05 * draw
            records.append(record_of(Task(cell, draws=1), accuracy))
            records.append(record_of(Task(cell, runs=1), accuracy + above[draw] / 100))
    return records


def test_differences_are_paired_by_draw():
    found = guess_and_check_tables.by_cell(made_up())
    one, other = Cell(width=4), Cell(width=64)
    gap = guess_and_check_tables.paired(found, (one, "direct"), (one, "sgd+0"))
    assert gap is not None
    low, high = stats.t.interval(0.95, 2, loc=1, scale=stats.sem([0, 1, 2]))
    assert (100 * gap.mean, 100 * gap.low, 100 * gap.high) == pytest.approx((1, low, high))
    more = guess_and_check_tables.interaction(found, one, other)  # 3, 2, 4 points
    assert more is not None
    low, high = stats.t.interval(0.95, 2, loc=3, scale=stats.sem([3, 2, 4]))
    assert (100 * more.mean, 100 * more.low, 100 * more.high) == pytest.approx((3, low, high))
    assert guess_and_check_tables.signed(more) == "**+3.0** (+0.5 to +5.5)"
    text = guess_and_check_tables.row(found, one)
    assert "| 85.0 (72.6 - 97.4) | 5.0 / 1.0 |" in text
    assert "| 25.0 % | +1.0 (-1.5 to +3.5) |" in text
    change = guess_and_check_tables.change_row(found, "width", one, other)
    assert "| width 4 to 64 | depth 1 |" in change
    assert change.endswith("| **+3.0** (+0.5 to +5.5) |")


def test_learning_rates_are_compared_at_one_width_and_widths_at_one_rate():
    """Points above 50 by draw: width 4 has 0, 0, 0 at .025 and 1, 2, 3 at .4, width 16 at .4 has 2, 4, 6."""
    made = ((4, 0.025, (0, 0, 0)), (4, 0.4, (1, 2, 3)), (16, 0.4, (2, 4, 6)))
    records = [
        record_of(Task(Cell(width=width, draw=draw), runs=512, rate=rate), 0.5 + more[draw] / 100)
        for width, rate, more in made
        for draw in range(3)
    ]
    rows = guess_and_check_tables.rate_rows(guess_and_check_tables.by_cell(records))
    assert len(rows) == 3
    assert rows[0].endswith("|  |  |  |")
    assert rows[1].startswith("| 4 | 0.4 | 5.0 | 25.0 % | 52.0 ")
    assert rows[1].endswith("|  |  | +2.0 (-0.5 to +4.5) |")
    assert rows[2].endswith("|  | +2.0 (-0.5 to +4.5) |  |")  # no rate of .025 at width 16


def test_a_draw_without_a_mean_leaves_no_mean_of_the_others():
    records = made_up()
    records[0] = record_of(Task(Cell(width=4), draws=1), None)
    found = guess_and_check_tables.by_cell(records)
    assert guess_and_check_tables.paired(found, (Cell(width=4), "direct"), (Cell(width=4), "sgd+0")) is None
    assert guess_and_check_tables.interaction(found, Cell(width=4), Cell(width=64)) is None
    assert "2 of 3 draws" in guess_and_check_tables.row(found, Cell(width=4))


def test_page_and_figure_are_made(tmp_path, small):
    path, page, figure = (tmp_path / name for name in ("run.jsonl", "page.md", "figure.png"))
    append(path, {"environment": environment()})
    split = record_of(Task(Cell(width=4), particles=8), 0.84, 0.03)
    for record in (*made_up(), small, split):
        append(path, record)
    guess_and_check_tables.main(["--file", str(path), "--out", str(page), "--figure", str(figure)])
    assert "| gaussian | 8 | 64 | 1 | 3 |" in page.read_text()
    # (.84 - .8) over hypot(.03, .01)
    assert "| gaussian, (64,4,1), m = 8, draw 0 | 80.00 +- 1.00 | 84.00 +- 3.00 | +1.3 |" in page.read_text()
    assert figure.stat().st_size > 10_000
