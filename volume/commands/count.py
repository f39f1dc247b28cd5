"""``volume count``: how many functions there are."""

from __future__ import annotations

import argparse

from volume.commands.shared import to_json
from volume.commands.usage import Exit, usage


def run(args: argparse.Namespace) -> int:
    """Count functions; needs no network and imports no array library."""
    from volume.functions.counting import Counting

    count = usage(Counting, args.inputs, args.outputs, fixed=args.fixed, at_least=args.at_least, digits=args.digits)
    print(to_json(count.to_dict()) if args.json else count.summary())
    return Exit.DONE
