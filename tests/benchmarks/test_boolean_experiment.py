"""The Boolean experiment in small: chunks of draws joined, functions chosen by a part that does not estimate them."""

import numpy as np
import pytest
from scipy import special

import volume
from benchmarks import boolean_experiment as experiment
from benchmarks.boolean_experiment import Size, Task

TASK = Task("0011", layers=(3, 4, 1), training=4)
SIZE = Size(draws=20_000, chunks=2, runs=200, particles=128, moves=8)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "OPTIMISERS", [("sgd", 2)])
        folder = tmp_path_factory.mktemp("runs")
        result = experiment.study(TASK, SIZE, folder)
        files = sorted(path.name for path in folder.iterdir())
        with patch.context() as none:  # a second call finds everything
            none.setattr(volume, "estimate", None)
            again = experiment.study(TASK, SIZE, folder)
        assert again.columns == result.columns
        assert sorted(path.name for path in folder.iterdir()) == files
        yield result


@pytest.mark.slow
def test_chunks_are_joined_unit_by_unit(found):
    parts = [volume.estimate(TASK.query, volume.Direct(SIZE.draws), seed=seed) for seed in (0, 1)]
    joined = found.draws
    assert joined.counts.num_units == sum(part.counts.num_units for part in parts)
    assert list(joined) == sorted(set(parts[0]) | set(parts[1]), key=lambda label: joined.bound.key(label).tolist())
    for label in joined:
        assert joined[label].count == sum(part[label].count for part in parts)
        assert joined[label].units_hit == sum(part[label].units_hit for part in parts)


@pytest.mark.slow
def test_functions_are_chosen_by_the_first_tenth_of_runs(found):
    report = found.runs["sgd", 2].given_fit()
    pilot = report.num_runs // 10
    counts, runs = report.counts, np.repeat(list(report), np.diff(report.counts.offsets))
    early = {label: int((runs[counts.unit < pilot] == label).sum()) for label in report}
    expected = sorted((label for label in early if early[label]), key=lambda label: (-early[label], label))
    assert found.labels == expected[: experiment.LISTED]
    late = runs[counts.unit >= pilot]
    for label, (share, low, high) in zip(found.labels, found.columns["sgd 2"], strict=True):
        assert share == (late == label).mean()
        assert low <= share <= high


@pytest.mark.slow
def test_draws_and_splitting_agree(found):
    """Log odds of the larger shares within 5 normal errors and 15 of Student's t with 7 degrees (false alarms below
    2e-6 each); errors are those of the intervals. It sees odds that are off by a factor of 10."""
    pairs = [pair for pair in zip(found.columns["draws"], found.columns["splitting"], strict=True) if pair[0][0] > 0.1]
    assert pairs
    for draws, splitting in pairs:
        (value, low, high), (other, other_low, other_high) = special.logit(draws), special.logit(splitting)
        allowed = 5 * (high - low) / (2 * 1.96) + 15 * (other_high - other_low) / (2 * 2.365)
        assert allowed < np.log(10)
        assert abs(value - other) < allowed


def test_names_of_functions():
    target = "".join(map(str, TASK.labels))
    assert target == "00110011"
    assert TASK.name(target) == "the target"
    assert TASK.name("10110010") == "wrong at 000, 111"
    assert TASK.name("11001100") == "wrong at 000, 001, 010 and 5 more"


@pytest.mark.slow
def test_tables(found):
    target = "".join(map(str, TASK.labels))
    page = experiment.page([found], SIZE, "a command")
    assert "## 0011" in page
    assert page.count("| the target |") == (target in found.labels)
    assert f"of {2 * SIZE.draws:,} draws fit" in page
    rows = experiment.rows_of(found)
    assert [row.name for row in rows] == [TASK.name(label) for label in found.labels]
    assert all(list(row.facts) == list(found.columns) for row in rows)
