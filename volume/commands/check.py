"""``volume check``: ask baselines again, and say whether the answers are still the same.

Everything that can be told from the words alone is checked before the library, and so JAX, is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.commands import methods as method_options
from volume.commands.parser import parse
from volume.commands.resume import check_trusted
from volume.commands.shared import build_method, build_query, check_question, to_json, watched
from volume.commands.usage import Exit, UsageError, sentence

if TYPE_CHECKING:
    from volume.checks.baseline import Baseline
    from volume.checks.guards import Program
    from volume.checks.verdict import Checked
    from volume.method import Method
    from volume.queries.query import Query
    from volume.reports.facts import Report

logger = logging.getLogger(__name__)

# Of `volume estimate`, but no part of a question: name -> flag.
NOT_ASKED = {"out": "--out", "resume": "--resume", "force": "--force", "json": "--json", "top": "--top"}


def run(args: argparse.Namespace) -> int:
    """Check, add or update; exit code 1 when a baseline is no longer as it was, else 5 when one cannot be asked."""
    words = getattr(args, "words", None)
    if args.add is not None:
        return _add(args, words or [])
    if words is not None:
        raise UsageError("Words behind -- make a new baseline: name its file with --add FILE.")
    if not args.paths:
        raise UsageError("Name baselines, for example baselines/*.json, or make one with --add FILE -- WORDS.")
    missing = [path for path in args.paths if not Path(path).is_file()]
    if missing:
        raise UsageError(f"There is no file {missing[0]}: give baselines that `volume check --add` made.")
    if args.update and args.statistical:
        raise UsageError("--update writes the answer to the baseline's own seed: leave --statistical out.")
    from volume.checks.verdict import CHANGED, table

    start, results = time.perf_counter(), []
    alpha = args.alpha / len(args.paths)
    for number, path in enumerate(args.paths, 1):
        logger.info("%s (%d of %d)", path, number, len(args.paths))
        checked = check_file(
            path,
            alpha=alpha,
            statistical=args.statistical,
            seed=args.seed,
            update=args.update,
            programs=not args.no_programs,
            trusted=args.trust,
        )
        logger.info("%s", checked)
        results.append(checked)
    agree = all(checked.agree for checked in results)
    if args.json:
        record = {"agree": agree, "alpha": args.alpha, "baselines": [checked.to_dict() for checked in results]}
        print(to_json(record | {"seconds": time.perf_counter() - start}))
    else:
        print(table(results, args.alpha))
    if agree:
        return Exit.DONE
    return Exit.DISAGREE if any(checked.verdict == CHANGED for checked in results) else Exit.NOT_COMPARABLE


@dataclass(frozen=True)
class Asked:
    """The words of a baseline, understood."""

    query: Query
    method: Method[Any]
    seed: int
    level: float

    def estimate(self, seed: int | None = None, *, programs: bool = False) -> tuple[Report, dict[str, Program]]:
        """Return the report, by default of its own seed, and what the compiled steps cost."""
        from volume.checks.step_programs import watched as measured
        from volume.estimation import estimate

        def ask() -> Report:
            shown = watched()
            options: dict[str, Any] = {"seed": self.seed if seed is None else seed, "level": self.level}
            return estimate(self.query, self.method, **options, progress=shown)

        return measured(self.method, self.query, ask) if programs else (ask(), {})


def understood(words: Sequence[str]) -> argparse.Namespace:
    """The words behind ``volume estimate`` as a namespace. UsageError when they can not be meant; imports no JAX."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # of --help
            args = parse(["estimate", *words])
    except (UsageError, SystemExit) as error:
        flaw = error if isinstance(error, UsageError) else "no question"
        raise UsageError(f"volume estimate {' '.join(words)}: {flaw}") from None
    for name, flag in NOT_ASKED.items():
        if getattr(args, name, None) not in (None, False):
            raise UsageError(f"{flag} is no part of a question: leave it out of a baseline's words.")
    check_question(args)
    method_options.check(args)
    return args


def asked(args: argparse.Namespace) -> Asked:
    """Return the question and the method; UsageError when they do not fit each other."""
    query = build_query(args)
    return Asked(query, build_method(args, query), args.seed, args.level)


def _add(args: argparse.Namespace, words: Sequence[str]) -> int:
    if args.paths or args.update or args.statistical:
        raise UsageError("--add makes one new baseline: leave --update, --statistical and other files out.")
    path = Path(args.add)
    if path.suffix != ".json":
        raise UsageError(f"--add {path}: give the baseline a name that ends in .json.")
    if path.exists():
        raise UsageError(f"{path} exists: `volume check --update {path}` makes it anew, or name another file.")
    if not words:
        raise UsageError("Give the words of `volume estimate` behind --: --add FILE -- --model mlp:2-3-1 --draws 1e5.")
    question = asked(understood(words))
    report, steps = question.estimate(programs=not args.no_programs)
    baseline = _baseline(report, words, steps)
    record = {"path": str(path), "kind": baseline.kind, "made": baseline.made, "programs": baseline.programs}
    try:
        print(to_json(record) if args.json else baseline.summary(), flush=True)
    finally:
        baseline.write(path)
        logger.info("wrote %s", path)
    return Exit.DONE


def _baseline(report: Report, words: Sequence[str], steps: dict[str, Program]) -> Baseline:
    from volume.checks.baseline import Baseline

    return Baseline.of(report, command=words, programs={name: step.to_dict() for name, step in steps.items()})


def check_file(
    path: str | Path,
    *,
    alpha: float,
    statistical: bool = False,
    seed: int | None = None,
    update: bool = False,
    programs: bool = True,
    trusted: bool = False,
) -> Checked:
    """Ask one baseline again, in this process.

    What stands in the way (a damaged file, a question that can no longer be asked, a run that fails) is the verdict
    "failed" with its sentence, so that other baselines still have their turn.

    Args:
        path: of the baseline.
        alpha: family-wise false-alarm rate of a two-sample test.
        statistical: test draws of another seed even where the numbers ought to be the same.
        seed: of those draws. Default: one that follows from the baseline's.
        update: write the baseline anew where it differs, or was made elsewhere.
        programs: compare what the compiled steps cost.
        trusted: import a module that the baseline names, which runs its code.
    """
    from volume.checks.baseline import Baseline
    from volume.checks.verdict import FAILED as NOT_COMPARED
    from volume.checks.verdict import Checked

    name = str(path)
    try:
        baseline = Baseline.read(path)
        if baseline.command is None:
            raise ValueError(f"{path} was made by a test, and has no words to ask it again: run pytest instead.")
        words = understood(baseline.command)
        check_trusted(words, trusted=trusted, where=path)
        question = asked(words)
    except Exception as error:  # whatever a user's own model raises, the other baselines have their turn
        return Checked(name, NOT_COMPARED, sentence(error))
    try:
        return _checked(name, baseline, question, alpha, statistical, seed, update, programs)
    except Exception as error:  # likewise
        return Checked(name, NOT_COMPARED, f"The run failed: {sentence(error)}")


def _checked(
    name: str,
    baseline: Baseline,
    question: Asked,
    alpha: float,
    statistical: bool,
    seed: int | None,
    update: bool,
    programs: bool,
) -> Checked:
    from volume.checks.check import asked_otherwise, same_seed, two_sample
    from volume.checks.guards import changes as dearer
    from volume.checks.verdict import CHANGED, IDENTICAL

    programs = programs and (update or bool(baseline.programs))
    own = question.seed if not statistical else baseline.fresh_seed() if seed is None else seed
    if own == question.seed and statistical:
        raise ValueError(f"--seed {seed} is the baseline's own: give another, or leave it out.")
    report, steps = question.estimate(own, programs=programs)
    if update:
        return _updated(name, baseline, report, steps)
    result = asked_otherwise(report, baseline, name)
    if result is None and not statistical:
        result = same_seed(report, baseline, name)
        if result is None:  # another machine: only draws that share nothing can tell
            report, _ = question.estimate(baseline.fresh_seed() if seed is None else seed)
    result = result or two_sample(report, baseline, alpha, name)
    cost = [
        line
        for step, program in steps.items()
        for line in dearer(baseline.programs.get(step, {}), program, baseline.elsewhere, name=step)
    ]
    if cost and result.agree:
        same = "the same" if result.verdict == IDENTICAL else "alike"
        how = f"volumes are {same}, but a compiled step costs otherwise"
        return replace(result, verdict=CHANGED, how=how, changes=tuple(cost))
    return replace(result, changes=(*result.changes, *cost))


def _updated(name: str, baseline: Baseline, report: Report, steps: dict[str, Program]) -> Checked:
    """Write the baseline anew unless every number in it is the same and was made here."""
    from volume.checks.check import asked_otherwise, same_seed
    from volume.checks.guards import changes as dearer
    from volume.checks.verdict import IDENTICAL, UPDATED, Checked

    result = asked_otherwise(report, baseline, name) or same_seed(report, baseline, name)
    lines = ["volumes: other draws, on another machine"] if result is None else list(result.changes)
    lines += [
        line for step, one in steps.items() for line in dearer(baseline.programs.get(step, {}), one, [], name=step)
    ]
    lines += [f"{step}: not in the baseline so far" for step in steps if step not in baseline.programs]
    lines += baseline.elsewhere
    if result is not None and result.verdict == IDENTICAL and not lines:
        return replace(result, how="nothing to update, every number is the same")
    new = _baseline(report, baseline.command or (), steps)
    (new if steps else replace(new, programs=baseline.programs)).write(name)
    return Checked(name, UPDATED, "written anew", tuple(lines))
