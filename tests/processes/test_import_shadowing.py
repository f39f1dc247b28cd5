"""What `import volume` does and does not touch: a user's own modules, JAX, and what a type checker follows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

import volume

FOLDERS = ("models", "samplers")


def run(code: str, folder: Path) -> str:
    """Standard output of ``code`` as a script in ``folder``, with this checkout on PYTHONPATH."""
    (folder / "script.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A folder whose own ``models.py`` and ``samplers.py`` have nothing to do with this project."""
    (tmp_path / "models.py").write_text("MLP = 'mine'\n")
    (tmp_path / "samplers.py").write_text("Gaussian = 'mine'\n")
    return tmp_path


USE = """
import models, samplers
assert (models.MLP, samplers.Gaussian) == ("mine", "mine"), (models, samplers)
import volume
from volume.models import MLP
assert volume.models.MLP is MLP is not models.MLP
assert volume.samplers.Gaussian(2.0).weight_std == 2.0
assert models is not volume.models and samplers is not volume.samplers
print(MLP.__module__, volume.samplers.Gaussian.__module__)
"""


@pytest.mark.parametrize("first", ["", "import volume; volume.models, volume.samplers"], ids=["theirs", "ours"])
def test_a_users_own_models_and_samplers_are_left_alone(users_folder, first):
    """Whichever of the two is imported first."""
    assert run(first + USE, users_folder) == "volume.models.mlp volume.samplers.independent"


def test_importing_volume_imports_no_jax(tmp_path):
    heavy = "print([name for name in ('jax', 'flax', 'scipy', 'matplotlib', 'duckdb') if name in sys.modules])"
    assert run(f"import sys, volume; dir(volume); volume.__version__; {heavy}", tmp_path) == "[]"


def test_no_second_copy_of_the_folders_is_imported(tmp_path):
    names = "[name for name in ('models', 'samplers') if name in sys.modules]"
    code = f"import sys, volume; volume.models.MLP, volume.samplers.Gaussian; print({names})"
    assert run(code, tmp_path) == "[]"


@pytest.mark.parametrize("folder", FOLDERS)
def test_type_checkers_find_the_folders_of_a_checkout(folder):
    """A checker does not follow ``__path__``: a stub in volume/ gives it the facade's names, those in ``__all__``."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("an installed wheel has the folders inside volume/ and no stubs")
    assert f"from {folder} import *" in (ROOT / "volume" / f"{folder}.pyi").read_text().splitlines()
    facade = getattr(volume, folder)
    assert all(hasattr(facade, name) for name in facade.__all__)
    assert not (ROOT / "volume" / folder).exists()  # it would hide the folder of the checkout
