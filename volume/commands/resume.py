"""`volume estimate --resume DIR`, or `volume local`: the words with which a run was begun, taken from its folder.

Either command goes on with the other's runs, as the words say which it was.

Imports no array library: what is wrong with the words is said at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from volume.commands.usage import UsageError, flag, usage
from volume.common.paths import checked_path
from volume.common.record_reading import parse_object, read_file

# What may be another than when the run was begun: where the answer goes, what is shown of it, how many work on it.
FREE = ("resume", "out", "force", "json", "top", "progress", "quiet", "verbose", "debug", "trust", "no_cache")
FREE += ("memory", "distributed", "coordinator", "num_processes", "process_id", "process_timeout")


def own_words(argv: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return the words of a command without its `FREE` options."""
    free = {option: action for action in parser._actions if action.dest in FREE for option in action.option_strings}
    kept, skip = [], False
    for word in argv:
        if skip:
            skip = False
        elif (action := free.get(word.partition("=")[0])) is not None:
            skip = action.nargs != 0 and "=" not in word
        else:
            kept.append(word)
    return kept


def resumed(
    argv: list[str], parser: argparse.ArgumentParser, parse: Callable[[list[str]], argparse.Namespace]
) -> argparse.Namespace | None:
    """Return the arguments of the run in the folder behind ``--resume``, with the `FREE` ones as they are typed now.

    None when the run was not begun on the command line: then all words have to be typed.

    Raises:
        UsageError: there is no run, or an option that is typed now is another than the run's.
    """
    folder = _value(argv, "--resume")
    if folder is None:
        return None
    file = usage(checked_path, folder) / "config.json"
    if Path(folder).is_file():
        raise UsageError(f"--resume {folder} is a file: name the folder of the run.")
    try:
        command = parse_object(read_file(file))["command"]
    except FileNotFoundError:
        raise UsageError(f"{folder} holds no run that could go on: begin one with --out {folder}.") from None
    except (ValueError, KeyError):
        raise UsageError(f"{file} is damaged, or no config of a run: name another folder.") from None
    if command is None:
        if not own_words(argv, parser)[1:]:
            raise UsageError(
                f"The run in {folder} was begun in Python: go on with volume.estimate(query, method, out={folder!r}, "
                "resume=True), or type all its options."
            )
        return None
    first, both = parse(command), parse([*command, *argv[1:]])
    check_trusted(first, trusted="--trust" in argv, where=file)  # as typed now: the folder's words may hold it, too
    for name, value in vars(first).items():
        again = getattr(both, name)
        # An option that may be repeated comes twice when it is typed again.
        if name not in FREE and again != value and not (isinstance(value, list) and again == 2 * value):
            raise UsageError(f"{flag(name)} is not as in the run in {folder}: leave it out, or begin a new run.")
        if name not in FREE:
            setattr(both, name, value)
    return both


def check_trusted(stored: argparse.Namespace, *, trusted: bool, where: str | Path) -> None:
    """Raise UsageError where words that come from a file would import a module, unless the user trusts the file.

    Importing a module runs it, and a file may come from anybody.
    """
    model: Any = getattr(stored, "model", None)
    if model is not None and model.kind == "import" and not trusted:
        raise UsageError(
            f"{where} asks to import the module {model.module!r}, and importing runs code: look at that module, and "
            "add --trust where you trust it and the file."
        )


def _value(argv: list[str], flag: str) -> Any:
    for at, word in enumerate(argv):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag:
            return argv[at + 1] if at + 1 < len(argv) else None  # argparse says what is missing
    return None
