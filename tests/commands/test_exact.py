"""Finite priors and exact counts on the command line."""

from __future__ import annotations

import pytest
from cli_runs import answer, run, stop_after_first_step

from volume.commands import specs
from volume.commands.usage import UsageError
from volume.samplers import Lattice

NET = ["estimate", "--model", "mlp:2-2-1", "--activation", "sign", "--coding", "-1,1"]


@pytest.mark.parametrize(
    ("word", "options", "prior"),
    [
        ("binary", {}, Lattice.binary()),
        ("ternary", {"bias_levels": (0.0,)}, Lattice((-1, 0, 1), (0,))),
        ("levels:-2,-1,1", {"bias_levels": None}, Lattice((-2, -1, 1))),
        ("levels:-1,1/0,0.5", {"bias_levels": ((0.0,), (1.0, 2.0))}, Lattice(((-1, 1), (0, 0.5)), ((0,), (1, 2)))),
    ],
)
def test_words_of_finite_priors(word, options, prior):
    assert specs.build_prior(specs.parse_prior(word), options) == prior


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("ternery", "Did you mean 'ternary'"),
        ("binary:-1,1", "Unknown prior"),
        ("levels", "expected levels:A,B"),
        ("levels:", "expected levels:A,B"),
        ("levels:1,x", "expected a number, got 'x'"),
        ("levels:0,1/2,2", "every level once"),
    ],
)
def test_words_that_name_no_finite_prior(word, sentence):
    with pytest.raises(UsageError, match=sentence):
        specs.parse_prior(word)


def test_options_go_with_their_prior_and_method(capsys):
    with pytest.raises(UsageError, match=r"--bias-levels belongs to the lattice prior.*binary, ternary or levels"):
        specs.build_prior("gaussian", {"bias_levels": (1.0,)})
    with pytest.raises(UsageError, match="--weight-std belongs to the gaussian prior, not to binary"):
        specs.build_prior("binary", {"weight_std": 1.0})
    for words, sentence in (
        ("--prior binary --no-bias --bias-levels 0 --method exact", "--bias-levels has no bias to act on"),
        ("--prior binary --method exact --draws 5", "--draws belongs to --method direct"),
        ("--prior binary --draws 5 --path sums", "--path belongs to --method exact"),
        ("--method exact", "infinitely many: use volume.Direct"),
        ("--prior ternary --method exact --limit 10", "19,683 parameterisations, more than limit=10"),
        ("--prior binary --method splitting --label 0001", "use volume.Exact"),
    ):
        code, out, err = run(capsys, *NET, *words.split())
        assert (code, out) == (2, "")
        assert sentence in err


def test_an_exact_run_is_saved_shown_and_compared(capsys, tmp_path):
    prior = ["--prior", "levels:-1,1", "--bias-levels", "-1,0"]
    found = answer(capsys, *NET, *prior, "--method", "exact", "--out", tmp_path / "exact")
    assert found["complete"] is True
    assert found["num_draws"] == 2**6 * 2**3
    assert sum(entry["count"] for entry in found["classes"]) == 512
    assert found["unseen"]["mass"] == found["unseen"]["high"] == 0
    assert all(entry["low"] == entry["volume"] == entry["high"] for entry in found["classes"])
    assert answer(capsys, "show", tmp_path / "exact") == found
    grouped = answer(capsys, "show", tmp_path / "exact", "--group-by", "ones")
    assert sum(entry["count"] for entry in grouped["classes"]) == 512
    code, out, _ = run(capsys, "show", tmp_path / "exact")
    assert code == 0
    assert "all 512 parameterisations" in out
    assert "whole numbers" in out  # of the arithmetic
    drawn = answer(capsys, *NET, *prior, "--draws", "5e4", "--out", tmp_path / "drawn")
    assert drawn["complete"] is False
    assert answer(capsys, "compare", tmp_path / "exact", tmp_path / "drawn")["agree"]  # alpha 1e-6
    code, _, _ = run(capsys, "plot", tmp_path / "exact", "--out", tmp_path / "rank.pdf")
    assert code == 0


def test_a_stopped_count_has_no_answer(capsys, monkeypatch):
    words = [*NET[:2], "mlp:3-4-1", "--no-bias", "--prior", "ternary", "--method", "exact", "--path", "blocks"]
    stop_after_first_step(monkeypatch)
    code, out, err = run(capsys, *words)
    assert (code, out) == (3, "")
    assert "nothing was saved" in err
