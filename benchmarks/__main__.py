"""Run benchmarks, each in a process of its own, and put their tables on one page.

    python -m benchmarks --list
    python -m benchmarks --quick --out results
    python -m benchmarks throughput rare_event --out results
    python -m benchmarks --only speed --skip trained --budget 30 --out results --resume
    python -m benchmarks throughput --out results -- --draws 1e7
    python -m benchmarks --compare OLD NEW

FOLDER/NAME.json is a benchmark's record, FOLDER/NAME.log what it printed, FOLDER/results.json all records of the folder
and FOLDER/RESULTS.md their tables. A benchmark that fails does not stop the others. Exit codes: 0 done, 1 one of them
failed, 2 usage, 3 stopped by Ctrl-C. docs/benchmarks.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison import compare
from benchmarks.environment import machine
from benchmarks.record import FORMAT, VERSION, body, markdown, write_json
from benchmarks.registry import FOLDER, KINDS, Benchmark, discovered, missing

ROOT = FOLDER.parent
DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 3
TAIL = 15  # lines of a failed benchmark's output that are shown


@dataclass(frozen=True)
class Outcome:
    """How one benchmark ended; ``state`` is "done", "kept" (from an earlier run), "failed" or "left out"."""

    name: str
    state: str
    why: str = ""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------- which


def chosen(
    known: Sequence[Benchmark], names: Sequence[str] = (), only: Sequence[str] = (), skip: Sequence[str] = ()
) -> list[Benchmark]:
    """Those named, or those of a kind, or all of the registry; less those to skip, by name or kind.

    Raises:
        ValueError: a name or kind that does not exist.
    """
    listed = {each.name: each for each in known}
    for word in [*names, *skip]:
        if word not in listed and not (word in skip and word in KINDS):
            raise ValueError(f"There is no benchmark {word!r}; there are {', '.join(listed)}.")
    asked = list(dict.fromkeys(names)) or [each.name for each in known if each.kind != "other" or "other" in only]
    found = [listed[name] for name in asked if not only or listed[name].kind in only]
    return [each for each in found if each.name not in skip and each.kind not in skip]


def listing(known: Sequence[Benchmark]) -> str:
    """What there is, Markdown."""
    rows = []
    for each in known:
        full, quick = ("?", "?") if each.minutes is None else (f"{value:g}" for value in each.minutes)
        absent = missing(each.extras)
        peers = "; ".join(f"without {peer} ({how})" for peer, how in absent.items())
        rows.append((each.name, each.kind, each.purpose, full, quick, each.claims, peers))
    return markdown(("name", "kind", "what for", "minutes", "quick", "claims that rest on it", "here"), rows)


# ------------------------------------------------------------------------------------------------- one


def stored(path: Path) -> dict[str, Any] | None:
    """The record at ``path``, None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def finished(path: Path, quick: bool, extra: Sequence[str]) -> bool:
    """Whether the record is one of the same size, asked in the same words, whose figures may be believed."""
    found = stored(path)
    if found is None or found["failure"]:
        return False
    return (found.get("quick"), found.get("extra")) == (quick, list(extra))


def run_one(each: Benchmark, out: Path, quick: bool, extra: Sequence[str], folder: Path = FOLDER) -> Outcome:
    """Run it in a process of its own. Its progress goes to stderr and, with what it prints, to NAME.log."""
    path, log = out / f"{each.name}.json", out / f"{each.name}.log"
    path.unlink(missing_ok=True)
    module = [sys.executable, str(folder / f"{each.name}.py")]
    words = [word.format(out=out) for word in each.words]
    if not each.plain:
        words += ["--json", str(path), *(["--quick"] if quick else [])]
    start = time.time()
    ended, printed = watch([*module, *words, *extra], log)
    found = plain_record(each.name, printed, start) if each.plain and ended == 0 else stored(path)
    if found is not None:
        failure = found["failure"] or (f"exit code {ended}" if ended else "")
        write_json(path, found | {"quick": quick, "extra": list(extra), "failure": failure})
    if ended == 0 and found is not None:
        return Outcome(each.name, "done")
    why = found["failure"] if found is not None and found["failure"] else f"exit code {ended}"
    say("\n".join(["", *printed.splitlines()[-TAIL:]]))
    return Outcome(each.name, "failed", f"{why}; see {log.name}")


def watch(words: Sequence[str], log: Path) -> tuple[int, str]:
    """Exit code and standard output of a command, its standard error passed on line by line; both end up in ``log``."""
    with tempfile.TemporaryFile() as printed, log.open("w", encoding="utf-8") as kept:
        with subprocess.Popen(words, cwd=ROOT, stdout=printed, stderr=subprocess.PIPE) as going:
            assert going.stderr is not None  # it is a pipe
            try:
                for line in going.stderr:
                    text = line.decode("utf-8", errors="replace")
                    kept.write(text)
                    sys.stderr.write(text)
                    sys.stderr.flush()
            except KeyboardInterrupt:  # the terminal told it too; this is for one that does not listen
                going.terminate()
                raise
        printed.seek(0)
        text = printed.read().decode("utf-8", errors="replace")
        kept.write(text)
    return going.returncode, text


def plain_record(name: str, printed: str, start: float) -> dict[str, Any]:
    """A record of a script that prints its own tables."""
    return {
        "format": FORMAT, "version": VERSION, "benchmark": name, "environment": None,
        "date": datetime.datetime.fromtimestamp(start, datetime.UTC).isoformat(timespec="seconds"),
        "load": {"seconds": time.time() - start},
        "limits": {}, "missing": {}, "rows": [], "notes": [], "failure": "", "details": {"printed": printed},
    }  # fmt: skip


def run_all(
    todo: Sequence[Benchmark],
    out: Path,
    *,
    quick: bool = False,
    resume: bool = False,
    budget: float | None = None,
    extra: Sequence[str] = (),
    folder: Path = FOLDER,
) -> list[Outcome]:
    """One after the other; a Ctrl-C leaves out the rest. ``budget``: minutes; none is begun that would not fit."""
    start, ends = time.monotonic(), []
    for number, each in enumerate(todo, 1):
        cost, left = each.cost(quick), None if budget is None else budget - (time.monotonic() - start) / 60
        if resume and finished(out / f"{each.name}.json", quick, extra):
            ends.append(Outcome(each.name, "kept"))
        elif left is not None and (cost is None or cost > left):
            takes = "its cost is unknown" if cost is None else f"it takes about {cost:g} minutes"
            ends.append(Outcome(each.name, "left out", f"{takes}, {max(left, 0):.1f} of {budget:g} are left"))
        else:
            about = "" if cost is None else f", about {cost:g} minutes on two quiet cores"
            say(f"[{number} of {len(todo)}] {each.name}: {each.purpose}{about}")
            try:
                ends.append(run_one(each, out, quick, extra, folder))
            except KeyboardInterrupt:
                ends.append(Outcome(each.name, "stopped", "by Ctrl-C"))
                ends += [Outcome(later.name, "left out", "after Ctrl-C") for later in todo[number:]]
                break
        say(f"{each.name}: {ends[-1].state}" + (f", {ends[-1].why}" if ends[-1].why else ""))
    return ends


# ------------------------------------------------------------------------------------------------- all


def records(out: Path, known: Sequence[Benchmark]) -> dict[str, dict[str, Any]]:
    """Every record of a folder, in the registry's order."""
    found = {each.name: stored(out / f"{each.name}.json") for each in known}
    return {name: record for name, record in found.items() if record is not None}


def results_page(found: dict[str, dict[str, Any]], known: Sequence[Benchmark], ends: Sequence[Outcome] = ()) -> str:
    """All tables, under the line of their machine: one header where all ran alike, one for each set-up else."""
    purposes = {each.name: each.purpose.rstrip(".") for each in known}
    groups: dict[str, list[str]] = {}
    for name, record in found.items():
        groups.setdefault(set_up(record), []).append(name)
    parts = ["# Benchmarks"]
    for heading, names in groups.items():
        begun, load = found[names[0]]["date"], found[names[0]]["load"].get("average")
        average = "" if not load else f"; load average {', '.join(f'{value:.1f}' for value in load)} at the start"
        parts.append(f"{heading}; begun {begun}{average}.")
        for name in names:
            record = found[name]
            size = " (quick: figures of few repeats, to see that it runs)" if record.get("quick") else ""
            given = [*(["--quick"] if record.get("quick") else []), *record.get("extra", [])]
            purpose = purposes.get(name, "")
            words = (
                f"{purpose[:1].upper()}{purpose[1:]}: `{' '.join(['python', f'benchmarks/{name}.py', *given])}`{size}."
            )
            parts += [f"## {name}", words, section(record)]
    bad = [end for end in ends if end.state not in ("done", "kept")]
    if bad:
        parts += ["## Not measured", markdown(("name", "", "why"), [(end.name, end.state, end.why) for end in bad])]
    return "\n\n".join(parts) + "\n"


def section(record: dict[str, Any]) -> str:
    """One benchmark below its heading."""
    if record["environment"] is None:
        return "```\n" + record["details"]["printed"].rstrip() + "\n```"
    facts = record["environment"]
    return f"{record['date']}; {facts['dtype']}, {record['load']['seconds']:.0f} s. {body(record)}"


def set_up(record: dict[str, Any]) -> str:
    """Device, precision, versions and commit."""
    if record["environment"] is None:
        return "Scripts that print their own tables"
    return machine(record["environment"])


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what stands behind ``--``."""
    words, extra = list(arguments), []
    if "--" in words:
        at = words.index("--")
        words, extra = words[:at], words[at + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of the registry")
    parser.add_argument("--list", action="store_true", help="say what there is, and end")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that all of it runs")
    parser.add_argument("--only", nargs="+", default=[], choices=tuple(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--skip", nargs="+", default=[], metavar="NAME", help="names or kinds to leave out")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="begin none that takes longer than is left")
    parser.add_argument("--out", type=Path, default=Path("bench-out"), metavar="FOLDER", help="default: bench-out")
    parser.add_argument("--resume", action="store_true", help="skip what FOLDER has already, in the same size")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"), help="folders or files; and end")
    given = parser.parse_args(words)
    if given.budget is not None and not given.budget > 0:
        parser.error(f"--budget {given.budget:g}: give a number of minutes above 0")
    return given, extra


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """The exit code. ``folder`` holds the scripts."""
    given, extra = parse(sys.argv[1:] if arguments is None else arguments)
    known = discovered(folder)
    if given.list:
        print(listing(known))
        return DONE
    try:
        if given.compare:
            print(compare(*given.compare))
            return DONE
        todo = chosen(known, given.names, given.only, given.skip)
        if extra and len(todo) != 1:
            raise ValueError(f"What stands behind -- goes to one benchmark; {len(todo)} are chosen.")
    except ValueError as error:
        say(str(error))
        return USAGE
    if not todo:
        say("Nothing is left to run.")
        return USAGE
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, Any] = {"quick": given.quick, "resume": given.resume, "budget": given.budget}
    ends = run_all(todo, out, **sizes, extra=extra, folder=folder)
    found = records(out, known)
    states = {end.name: {"state": end.state, "why": end.why} for end in ends}
    write_json(out / "results.json", {"format": f"{FORMAT}s", "version": VERSION, "ends": states, "records": found})
    text = results_page(found, known, ends)
    (out / "RESULTS.md").write_text(text, encoding="utf-8")
    print(text)
    if any(end.state == "stopped" for end in ends):
        return STOPPED
    return FAILED if any(end.state == "failed" for end in ends) else DONE


if __name__ == "__main__":
    sys.exit(main())
