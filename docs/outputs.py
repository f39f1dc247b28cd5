"""Remake the outputs that README.md and docs/*.md show, each by the command or example that its page names.

    python docs/outputs.py                    # remake all but the benchmarks' (`make docs`)
    python docs/outputs.py --quick            # only those that take seconds
    python docs/outputs.py --check --quick    # change nothing; exit code 1 and a diff where an output differs
    python docs/outputs.py --benchmarks docs/local.md    # the benchmarks' too, of one page
    python docs/outputs.py --list             # where each output stands, and how it is made

An output is a fenced block of ``text`` or ``console``, or a table. The comment on the line before it, without which a
block is an error and a table just a table, says how it is made, how long that takes, and what is shown if not all is:

    <!-- output of the example above; quick -->
    <!-- output of the command above; slow; first 9 lines -->
    <!-- output of: python benchmarks/digits.py; benchmark; table 1 -->
    <!-- output of: volume local, stopped by Ctrl-C; by hand -->

"The example above" is the nearest Python block before, run alone by this Python; "the command above" is the nearest
block of ``sh``. They run in an empty folder, a benchmark in the checkout. What is copied, laid out or rounded by hand
is listed and never remade. An output that differs only in how many seconds something took stays as it is. Exit codes:
0 done, 1 an output differs or could not be made, 2 usage or a block without its comment.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"^```(?P<language>[a-z]*)\n(?P<content>.*?)^```$|(?P<table>(?:^\|[^\n]*\n)+)", flags=re.MULTILINE | re.DOTALL
)
TABLE = re.compile(r"(?:^\|[^\n]*\n)+", flags=re.MULTILINE)
OUTPUTS = ("text", "console")
KINDS = ("quick", "slow", "benchmark", "by hand")
MARK = re.compile(
    r"<!-- output of(?: the (?P<above>example|command) above|: (?P<command>[^;\n]+))"
    rf"; (?P<kind>{'|'.join(KINDS)})(?:; (?P<part>first|last|table) (?P<number>\d+)(?: lines)?)? -->\n\Z"
)
ABOVE = {"example": "python", "command": "sh"}
SECONDS = re.compile(r"\d[\d.,]*(?= (?:s|ms|min|h)\b)")


class PageError(Exception):
    """A page that does not say how one of its outputs is made, or an output that cannot be made."""


@dataclass(frozen=True)
class Output:
    """One output of a page, and how it is made."""

    where: str  # "docs/exact.md:17"
    content: str
    start: int  # place of the content in the page, in characters
    stop: int
    kind: str  # one of KINDS
    language: str  # of the source, "python" or "sh"
    source: str  # what is run
    part: str | None  # what is shown of all that it prints: its "first" or "last" lines, or one "table"
    number: int  # how many lines, or which table

    @property
    def made_by(self) -> str:
        """What makes it, on one line."""
        return "the example above" if self.language == "python" else " ".join(self.source.split())

    def remake(self) -> str:
        """Run what makes this output.

        Returns:
            The lines that the page shows. The content of the page, where the two differ in seconds only.

        Raises:
            PageError: what makes it ended with an error, or did not print what is to be shown.
        """
        try:
            text = printed(self.language, self.source, in_checkout=self.kind == "benchmark")
            made = part(text, self.part, self.number)
        except PageError as error:
            raise PageError(f"{self.where}: {self.made_by}: {error}") from error
        return self.content if without_seconds(made) == without_seconds(self.content) else made


@functools.cache
def printed(language: str, source: str, in_checkout: bool) -> str:
    """Run an example or a command and return what it prints, once for all outputs that show parts of it."""
    # This Python's own commands come first, and nobody's terminal decides how wide a table is.
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    command = [sys.executable, "-c", source] if language == "python" else ["bash", "-ec", source]
    with tempfile.TemporaryDirectory() as folder:
        cwd = ROOT if in_checkout else folder
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise PageError(f"exit code {done.returncode}\n{done.stderr[-2000:]}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.rstrip().splitlines())


def part(text: str, name: str | None, number: int) -> str:
    """Cut the part that a page shows out of all that was printed."""
    if name == "table":
        tables = TABLE.findall(text)
        if len(tables) < number:
            raise PageError(f"there are {len(tables)} tables, the page shows number {number}")
        return tables[number - 1]
    lines = text.splitlines(keepends=True)
    if not lines or len(lines) < number:
        raise PageError(f"there are {len(lines)} lines, the page shows {number or 'some'}")
    return "".join(lines if name is None else lines[:number] if name == "first" else lines[-number:])


def without_seconds(text: str) -> str:
    """The text with every time taken out, since no two runs take the same."""
    return SECONDS.sub("...", text)


def outputs(page: Path, text: str) -> list[Output]:
    """Find the outputs of a page, in order.

    Raises:
        PageError: a block of ``text`` or ``console`` has no comment before it that says how it is made, or a wrong one.
    """
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    found, above = [], {}
    for block in BLOCK.finditer(text):
        where = f"{name}:{text.count(chr(10), 0, block.start()) + 1}"
        before = text[text.rfind("\n", 0, max(block.start() - 1, 0)) + 1 : block.start()]
        marked = before.startswith("<!-- output")
        if not marked and block["language"] not in OUTPUTS:
            above[block["language"]] = block["content"]
            continue
        mark = MARK.match(before)
        if mark is None:
            raise PageError(f"{where}: no comment on the line before says how this output is made (docs/outputs.py)")
        language = ABOVE.get(mark["above"], "sh")
        source = mark["command"] or above.get(language)
        if source is None:
            raise PageError(f"{where}: there is no {mark['above']} above this output")
        group = "table" if block["table"] else "content"
        made = (mark["kind"], language, source, mark["part"], int(mark["number"] or 0))
        found.append(Output(where, block[group], *block.span(group), *made))
    return found


def remade(text: str, chosen: list[Output]) -> str:
    """The page with the chosen outputs made again."""
    for each in reversed(chosen):  # from the end: places before it stay true
        text = text[: each.start] + each.remake() + text[each.stop :]
    return text


def main(words: list[str] | None = None) -> int:
    """Remake, compare or list the outputs of pages.

    Args:
        words: the command line's, by default.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description="Remake the outputs that README.md and docs/*.md show.")
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files (default: README.md and docs/*.md)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 and a diff if one differs")
    parser.add_argument("--quick", action="store_true", help="only those that take seconds")
    parser.add_argument("--benchmarks", action="store_true", help="those of benchmarks too: minutes to hours")
    parser.add_argument("--list", action="store_true", help="print where each output stands and how it is made")
    options = parser.parse_args(words)
    kinds = {"quick"} | ({"slow"} if not options.quick else set()) | ({"benchmark"} if options.benchmarks else set())
    paths = [page.resolve() for page in options.pages] or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    try:
        pages = [(path, text, outputs(path, text)) for path in paths for text in [path.read_text()]]
    except (OSError, PageError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        for each in (each for _, _, found in pages for each in found):
            print(f"{each.where}: {each.kind}: {each.made_by}")
        return 0
    code = 0
    for path, text, found in pages:
        try:
            new = remade(text, [each for each in found if each.kind in kinds])
        except PageError as error:
            print(error, file=sys.stderr)
            code = 1
            continue
        if options.check:
            before, after = (each.splitlines(keepends=True) for each in (text, new))
            sys.stdout.writelines(difflib.unified_diff(before, after, path.name, "now"))
            code = max(code, int(new != text))
        elif new != text:
            path.write_text(new)
            print(f"{path.name}: remade")
    for each in (each for _, _, found in pages for each in found if each.kind not in kinds and not options.quick):
        print(f"left as it is: {each.where}: {each.kind}: {each.made_by}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
