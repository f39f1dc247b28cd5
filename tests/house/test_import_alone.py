"""Every module imports first, in an interpreter that has imported none of the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import import_alone
import pytest
from checkout import ROOT
from import_graph import MODULES


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_every_module_imports_alone(tmp_path):
    """Two modules that cannot show that the test sees them; one of them needs that the other was imported before."""
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "second.py").write_text("import sys\nassert 'volume.errors' in sys.modules\n")
    command = [sys.executable, Path(import_alone.__file__), "volume.errors", "second", "broken", *MODULES]
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["second", "broken"], done.stderr
