"""The outputs in README.md and docs/ are what their commands print, and docs/outputs.py remakes them."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGE = """\
# A page

```python
print("a", 1.25)
print(f"{3.1} s, 12 draws")
print("c")
```

<!-- output of the example above; quick -->
```text
a 1.25
5.27 s, 12 draws
c
```

```sh
volume count --inputs 3 \\
    --fixed 1   # and a word on it
```

<!-- output of the command above; quick; last 1 lines -->
```text
as a fraction of all            0.500
```

<!-- output of: echo '| a |' && echo && echo '| b |' && echo '| c |'; quick; table 2 -->
| b |
| c |

<!-- output of: false; benchmark -->
```text
not run
```

<!-- output of: false; by hand -->
```console
$ not run
```

| a table | without a comment |
"""


@pytest.fixture
def outputs(pytestconfig, tmp_path):
    """Run docs/outputs.py on a page of this text (on the repository's, without one)."""

    def run(*words: str, page: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(pytestconfig.rootpath / "docs" / "outputs.py"), *words]
        if page is not None:
            (tmp_path / "page.md").write_text(page)
            command.append(str(tmp_path / "page.md"))
        return subprocess.run(command, capture_output=True, text=True, timeout=900)

    return run


@pytest.mark.slow
def test_the_quick_outputs_of_the_documents_are_what_is_printed(outputs):
    """Every block of text and console carries its comment, too: without one the exit code is 2."""
    done = outputs("--check", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_output_that_differs_in_seconds_only_is_the_same(outputs):
    done = outputs("--check", page=PAGE)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert [line.split(": ")[2] for line in done.stderr.splitlines()] == ["benchmark", "by hand"]


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("a 1.25", "a 1.24"),
        ("5.27 s, 12 draws", "5.27 s, 13 draws"),
        ("c\n```\n\n```sh", "```\n\n```sh"),
        ("all            0.5", "all            0.25"),
        ("| b |\n| c |\n", "| b |\n"),
    ],
    ids=["number", "beside a time", "missing line", "command", "table"],
)
def test_an_output_that_differs_is_shown_and_remade(outputs, tmp_path, true, false):
    wrong = PAGE.replace(true, false)
    done = outputs("--check", page=wrong)
    assert done.returncode == 1
    assert done.stdout.startswith("--- page.md\n+++ now\n")
    assert (tmp_path / "page.md").read_text() == wrong
    assert outputs(page=wrong).returncode == 0
    remade = (tmp_path / "page.md").read_text()
    assert remade.replace("3.1 s", "5.27 s") == PAGE  # the time is a new one where anything else of its block is


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<!-- output of the example above; quick -->\n", "", "no comment on the line before"),
        ("the example above; quick", "the example above; fast", "no comment on the line before"),
        ("the example above; quick", "the example above; quick; last lines", "no comment on the line before"),
        ("```sh\nvolume", "```bash\nvolume", "there is no command above"),
    ],
)
def test_a_block_without_its_comment_is_an_error(outputs, old, new, words):
    done = outputs("--check", page=PAGE.replace(old, new))
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("--inputs 3", "--inputs none", "exit code 2"),
        ("table 2", "table 3", "there are 2 tables"),
        ("last 1 lines", "last 9 lines", "there are 3 lines"),
        ("false; benchmark", "false; quick", "exit code 1"),
    ],
)
def test_what_cannot_be_made_changes_no_page(outputs, tmp_path, old, new, words):
    page = PAGE.replace(old, new)
    done = outputs(page=page)
    assert done.returncode == 1
    assert words in done.stderr
    assert (tmp_path / "page.md").read_text() == page


def test_benchmarks_run_only_when_asked_for(outputs):
    assert outputs("--check", "--benchmarks", page=PAGE).returncode == 1
    listed = outputs("--list", page=PAGE)
    assert listed.returncode == 0
    assert [line.split(": ", 2)[1:] for line in listed.stdout.splitlines()][1:3] == [
        ["quick", "volume count --inputs 3 \\ --fixed 1 # and a word on it"],
        ["quick", "echo '| a |' && echo && echo '| b |' && echo '| c |'"],
    ]
