"""The mark of this program in the figures that it writes, by which it knows those that it may replace.

The mark ends a file and holds the SHA-256 of what stands before it, so that a figure that somebody went on drawing is
theirs. It is a comment of PDF and SVG, and a chunk of text in PNG.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

PNG_END = 12  # bytes of the last chunk of a PNG, which has to stay the last
MAX_BYTES = 1 << 28  # of a figure; a larger file is somebody else's


def marked(figure: bytes, suffix: str) -> bytes:
    """Add the mark to the bytes of a figure; ``suffix`` is ".pdf", ".svg" or ".png"."""
    if suffix == ".png":
        figure, end = figure[:-PNG_END], figure[-PNG_END:]
        text = b"tEXtSoftware\0" + _mark(figure)
        return figure + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + end
    before, behind = (b"%", b"\n") if suffix == ".pdf" else (b"<!-- ", b" -->\n")
    return figure + before + _mark(figure) + behind


def check_own_figure(path: Path) -> None:
    """Raise FileExistsError where ``path`` is something else than a figure as this program wrote it, or nothing."""
    suffix, own = path.suffix.lower(), not path.exists() and not path.is_symlink()
    if not own and path.is_file() and path.stat().st_size < MAX_BYTES:
        figure = path.read_bytes()
        length = len(marked(bytes(PNG_END), suffix)) - PNG_END
        without = figure[:-length]
        if suffix == ".png":
            without = figure[: -length - PNG_END] + figure[-PNG_END:]
        own = figure == marked(without, suffix)
    if not own:
        raise FileExistsError(
            f"{path} is no figure that this program wrote, or was changed since, and is left as it is: name another "
            "place, or move it."
        )


def _mark(figure: bytes) -> bytes:
    return b"param-volume sha256 " + hashlib.sha256(figure).hexdigest().encode()
