"""Names of files in words of the command line, and modules that lie beside them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import volume
from volume import models
from volume.commands import specs


def test_a_file_of_the_folder_is_not_taken_for_pythons_own(tmp_path, monkeypatch):
    (tmp_path / "colorsys.py").write_text("raise SystemExit('this code ran')\n")
    (tmp_path / "with_colours.py").write_text(
        "import colorsys\nfrom volume.models import MLP\nnet = MLP((2, 3, 1)), colorsys.rgb_to_hsv\nnet = net[0]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # as the installed command sees it
    assert specs.parse_model("import:with_colours:net").build() == models.MLP((2, 3, 1))
    assert sys.path[-1] == str(tmp_path)


FILE_NAMES = [
    "a*b.csv",
    "a|b.csv",
    "a:b.csv",
    "a.csv*b.csv",
    "12:30.csv",
    "*|:.csv",
    "ones|x.csv",
    "a*ones.csv",
    "A*B.CSV",
]


@pytest.mark.parametrize("name", FILE_NAMES)
def test_signs_in_the_names_of_files(name, tmp_path):
    """Stars, bars and colons belong to the name unless a classifier's word follows."""
    path = f"{tmp_path}/{name}"
    for kind in ("fits", "accuracy"):
        (word,) = specs.parse_classifier(f"{kind}:{path}")
        assert (word.kind, word.path, word.bins) == (kind, path, None)
        both = specs.parse_classifier(f"{kind}:{path}*ones")
        assert [(one.kind, one.path) for one in both] == [(kind, path), ("ones", "")]
        (given,) = specs.parse_classifier(f"ones * {kind}:{path} | fits:{path}")
        assert [[one.path for one in part] for part in given.parts] == [["", path], [path]]
    (word,) = specs.parse_classifier(f"accuracy:{path}:4")
    assert (word.path, word.bins) == (path, 4)
    (tmp_path / name).write_text("0,0,1\n1,1,0\n")
    built = specs.build_classifier(specs.parse_classifier(f"fits:{path}"), None)
    assert built == volume.Fits(np.array([[0.0, 0], [1, 1]]), "10")
