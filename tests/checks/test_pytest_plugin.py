"""The pytest plugin: baselines are written when asked for, and what changed fails with a sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import jax  # before pytester's inner runs, which forget the modules that they import

import volume
from volume import models, samplers

pytest_plugins = "pytester"

_ = jax, volume.estimate, volume.check_report, volume.Baseline, models, samplers

REGRESSION = """
    import numpy as np
    import pytest
    import volume
    from volume import models, samplers

    STD = {std}

    @pytest.mark.parametrize("seed", [{seed}])
    def test_ones(volume_regression, seed):
        query = volume.Query(
            models.Perceptron(2), samplers.Gaussian(bias_std=STD), volume.BooleanCube(2), volume.Ones()
        )
        volume_regression(volume.estimate(query, volume.Direct(20_000), seed=seed))
"""
PROGRAM = """
    import jax
    import numpy as np

    def test_step(volume_program):
        step = jax.jit(lambda x: {body})
        x = np.ones((16, 16), np.float32)
        program = volume_program("step", step, x, during=lambda: [step(x), step({second})])
        assert program.flops > 0
"""


def outcomes(pytester, *args):
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist", *args)
    return result.parseoutcomes(), "\n".join(result.outlines)


def test_a_missing_baseline_fails_and_says_how_to_make_it(pytester):
    pytester.makepyfile(test_model=REGRESSION.format(std=1.0, seed=0))
    found, text = outcomes(pytester)
    assert found == {"failed": 1}
    assert "There is no baseline at" in text
    assert "Write it with: pytest --volume-update" in text
    found, _ = outcomes(pytester, "--volume-update")
    assert found == {"passed": 1}
    path = pytester.path / "baselines" / "test_model" / "test_ones-0.json"
    assert json.loads(path.read_text())["kind"] == "counts"
    written = path.stat().st_mtime_ns
    assert outcomes(pytester)[0] == {"passed": 1}
    assert outcomes(pytester, "--volume-update")[0] == {"passed": 1}
    assert path.stat().st_mtime_ns == written  # what is identical stays as it is


def test_what_changed_fails_with_its_classes(pytester):
    pytester.makepyfile(test_model=REGRESSION.format(std=1.0, seed=0))
    outcomes(pytester, "--volume-update")
    pytester.makepyfile(test_model=REGRESSION.format(std=1.001, seed=0))
    found, text = outcomes(pytester)
    assert found == {"failed": 1}
    assert "query.prior.bias_std: was 1.0, is 1.001" in text
    assert "If that is meant: pytest --volume-update" in text
    file = pytester.path / "baselines" / "test_model" / "test_ones-0.json"
    file.write_text(file.read_text()[:100])
    found, text = outcomes(pytester)
    assert (found, "truncated or damaged" in text) == ({"failed": 1}, True)
    assert outcomes(pytester, "--volume-update")[0] == {"passed": 1}
    assert outcomes(pytester)[0] == {"passed": 1}


def test_two_reports_in_one_test_need_names(pytester):
    pytester.makepyfile(
        test_two="""
        import volume
        from volume import models, samplers

        QUERY = volume.Query(models.Perceptron(2), samplers.Gaussian(), volume.BooleanCube(2), volume.Ones())
        REPORT = volume.estimate(QUERY, volume.Direct(2_000))

        def test_named(volume_regression):
            volume_regression(REPORT)
            volume_regression(REPORT, "again")

        def test_unnamed(volume_regression):
            volume_regression(REPORT)
            volume_regression(REPORT)
        """
    )
    found, text = outcomes(pytester, "--volume-update")
    assert found == {"passed": 1, "failed": 1}
    assert "is checked twice by one test" in text
    names = sorted(path.name for path in (pytester.path / "baselines" / "test_two").iterdir())
    assert names == ["test_named.again.json", "test_named.json", "test_unnamed.json"]


def test_programs_are_guarded(pytester):
    pytester.makepyfile(test_step=PROGRAM.format(body="x @ x", second="x"))
    assert outcomes(pytester)[0] == {"failed": 1}
    assert outcomes(pytester, "--volume-update")[0] == {"passed": 1}
    assert outcomes(pytester)[0] == {"passed": 1}
    pytester.makepyfile(test_step=PROGRAM.format(body="x @ x @ x", second="x"))
    found, text = outcomes(pytester)
    assert found == {"failed": 1}
    assert "step: flops: 8,192 -> 16,384" in text
    pytester.makepyfile(test_step=PROGRAM.format(body="x @ x", second="x[:8, :8]"))
    found, text = outcomes(pytester)
    assert (found, "step: traces: 1 -> 2" in text) == ({"failed": 1}, True)


def test_the_plugin_costs_other_suites_nothing(pytester):
    """pytest loads it in every project: no array library, and no file, comes of that."""
    pytester.makepyfile("import sys\ndef test_it():\n    assert not {'jax', 'numpy', 'pyarrow'} & set(sys.modules)")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "param-volume" in done.stdout
    assert not (pytester.path / "baselines").exists()


def test_options_are_explained_and_checked(pytester, capsys):
    assert pytester.runpytest("--volume-alpha", "2").ret == 4  # a usage error
    assert "--volume-alpha 2: give a chance between 0 and 1" in capsys.readouterr().err
    result = pytester.runpytest("--help")
    result.stdout.fnmatch_lines(["param-volume:", "*--volume-update*", "*--volume-alpha=A*"])
