"""From the words of a command line to a namespace; a mistyped one answers before JAX is imported."""

from __future__ import annotations

import argparse
import itertools
import re

from volume.commands.command_table import Parser, build
from volume.commands.resume import own_words, resumed
from volume.commands.usage import UsageError
from volume.common.choices import nearest
from volume.errors import unknown


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments into a namespace with ``command``.

    Raises:
        UsageError: they make no sense. SystemExit: they ask for help or the version, which is printed.
    """
    parser, commands = build()
    command = next((word for word in argv if not word.startswith("-")), None)
    if command is not None and command not in commands:
        parser.error(unknown("command", command, commands))
    words = None
    if command == "check" and "--" in argv:  # what stands behind it are the words of another command
        at = argv.index("--")
        argv, words = argv[:at], argv[at + 1 :]
    at = argv.index("--") if "--" in argv else len(argv)
    argv, names = _join_negative(argv[:at]), argv[at:]  # behind -- stand no options, whatever they begin with
    # Before argparse, which would first complain of a required option where one was merely mistyped.
    here = commands.get(command or "", parser)
    known = [option for action in here._actions for option in action.option_strings]
    for word in argv:
        option = word.partition("=")[0]
        if word.startswith("-") and option not in known:
            near = nearest(option, known, cutoff=0.4)
            here.error(f"Unknown option {option!r}." + (f" Did you mean {near!r}?" if near else ""))
    _refuse_values(argv, here)
    args = None
    kept = command in ("estimate", "local")  # their runs are kept in a folder and can go on
    if kept:
        try:
            args = resumed(argv, here, parser.parse_args)
        except UsageError as error:
            here.error(str(error))
    args = args or parser.parse_args([*argv, *names])
    if args.command is None:
        parser.error(f"give a command: {', '.join(commands)}.")
    if kept and not hasattr(args, "begun"):
        args.begun = own_words(argv, here)
    if words is not None:
        args.words = words
    return args


def _refuse_values(argv: list[str], parser: Parser) -> None:
    """UsageError for a value behind an option that takes none: ``--resolve no`` would else say the opposite."""
    if any(not action.option_strings and action.dest != "command" for action in parser._actions):
        return  # it may be a file
    switches = {name: action for action in parser._actions if action.nargs == 0 for name in action.option_strings}
    for before, word in itertools.pairwise(argv):
        if before in switches and not word.startswith("-"):
            parser.error(f"{before} takes no value, got {word!r}: give {before} alone, or leave it out.")


def _join_negative(argv: list[str]) -> list[str]:
    """``--coding -1,1`` as ``--coding=-1,1``: argparse would take a value that starts with a minus for an option."""
    joined: list[str] = []
    for word in argv:
        if re.match(r"-[\d.]", word) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
