"""The config of a run directory: what the run is, and whether a run that is there is the same."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from volume.common.atomic_files import write_text
from volume.common.record_reading import check_seal, read_json, sha256_of
from volume.common.records import plain, short

logger = logging.getLogger(__name__)

FORMAT = "param-volume run directory"
VERSION = 1
# What a run may be resumed in spite of. Numbers may then differ where sums are rounded; a warning says so.
_LOOSE = ("versions", "command", "commit")


def settle_config(path: Path, config: dict[str, Any], *, resume: bool) -> None:
    """Write the config of a new run into its folder, or compare it with the one there.

    Raises:
        ValueError: another run is there (the sentence shows the first difference), or its config is damaged.
        FileExistsError: a run is there and ``resume`` was not given.
    """
    file = path / "config.json"
    mine = {"format": FORMAT, "version": VERSION, **plain(config, "config")}
    if not file.exists():
        write_text(file, json.dumps({**mine, "sha256": sha256_of(mine)}, indent=1, allow_nan=False) + "\n")
        return
    theirs = read_config(path)
    if not resume:
        raise FileExistsError(
            f"{path} holds a run: resume it (resume=True, on the command line --resume), or give another folder."
        )
    where = difference(theirs.get("settings"), mine.get("settings"), "settings")
    if where is not None:
        raise ValueError(
            f"{path} was begun with JAX and XLA set otherwise ({where}; null: all as usual), and numbers would "
            "round in another way: set them as they were, or give another folder."
        )
    where = difference(_strict(theirs), _strict(mine))
    if where is not None and where.startswith("constants"):
        raise ValueError(
            f"{path} was begun by a version of this library that draws in another order ({where}): go on with that "
            "version, or begin anew in another folder."
        )
    if where is not None:
        raise ValueError(f"{path} belongs to another run: {where}. Ask its question, or give another folder.")
    where = difference(theirs.get("versions"), mine.get("versions"), "versions")
    if where is not None:
        logger.warning("%s was begun with other versions (%s): draws may differ where sums are rounded.", path, where)


def read_config(path: str | Path) -> dict[str, Any]:
    """Read the config of the run in a folder.

    Raises:
        FileNotFoundError: there is no run. ValueError: its config is damaged or of another version of the format.
    """
    file = Path(path) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no run that could go on: there is no config.json in it.")
    config = read_json(file, (FORMAT,), VERSION, other="no config of a run: give a folder without such a file.")
    check_seal(file, config.pop("sha256", None), config)
    return config


def agree(theirs: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Say whether two configs are of the same run."""
    return difference(_strict(theirs), _strict(mine)) is None


def _strict(config: dict[str, Any]) -> dict[str, Any]:
    return {name: short(value) for name, value in config.items() if name not in _LOOSE}


def difference(theirs: Any, mine: Any, where: str = "") -> str | None:
    """Say where two records first differ, in words; None when they agree."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for name in sorted({*theirs, *mine}, key=lambda name: (name not in theirs or name not in mine, name)):
            first = difference(theirs.get(name), mine.get(name), f"{where}.{name}" if where else name)
            if first is not None:
                return first
        return None
    if theirs == mine:
        return None
    texts = [text if len(text) <= 80 else f"{text[:80]}..." for text in (json.dumps(theirs), json.dumps(mine))]
    return f"its {where} is {texts[0]} and this one's is {texts[1]}"
