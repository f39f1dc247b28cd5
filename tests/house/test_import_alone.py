"""Every module can be imported first, before any other of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import import_alone
import pytest
from checkout import ROOT


@pytest.mark.parametrize("each", [[], pytest.param(["--each"], marks=pytest.mark.slow)], ids=["quick", "each"])
def test_every_module_imports_alone(tmp_path, each):
    """Three modules that cannot show that the test sees them; two of them need that another was imported before."""
    broken = {
        "broken": "import no_such_module\n",
        "second": "import sys\nassert 'volume.errors' in sys.modules\n",
        "third": "import volume.common.choices\nvolume.common.logs.LN10\n",
    }
    for name, code in broken.items():
        (tmp_path / f"{name}.py").write_text(code)
    path = os.pathsep.join([str(ROOT), str(tmp_path), str(Path(import_alone.__file__).parent)])
    command = [sys.executable, import_alone.__file__, *each, *broken]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == list(broken), done.stderr
