"""Sentences that a reader must see beside a number, each with the kind that decisions are made by.

Shown and stored a note is its sentence; records name the kinds in a list beside the sentences. Notes that were stored
before they had a kind get it from OLD_SENTENCES.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

PLAIN = ""  # for the reader alone
SUMMARY = "summary"  # says how replicates were summed up, and names a volume; written anew when entries are joined
ONLY_PILOT = "only-pilot"  # the run ended before its first replicate
UNRESOLVED = "unresolved"  # a share that too few replicates met

# Words that only sentences stored without a kind hold, and their kinds. New notes are never searched: this table is for
# stored records alone, and does not grow.
OLD_SENTENCES = {
    "The pilot, one adaptive run, reached ": ONLY_PILOT,
    "its share is not resolved, below ": UNRESOLVED,
    " replicates reached the class: this run cannot tell its volume from 0.": SUMMARY,
    ": they count as 0 in the mean, ": SUMMARY,
    " has a bound but no interval: give 8 replicates or more.": SUMMARY,
    " and its interval are shaky, so the bound leads.": SUMMARY,
}


class Note(str):
    """A sentence and its kind, one of those above."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, text: str, kind: str = PLAIN) -> Self:
        note = super().__new__(cls, text)
        note.kind = text.kind if isinstance(text, Note) and kind == PLAIN else kind
        return note

    def __getnewargs__(self) -> tuple[str, str]:
        return str(self), self.kind


def notes_of(sentences: Iterable[str]) -> tuple[Note, ...]:
    """Every sentence as a note."""
    return tuple(map(Note, sentences))


def to_record(sentences: Iterable[str]) -> dict[str, Any]:
    """Return the entries of a record: the sentences, and their kinds beside them."""
    notes = notes_of(sentences)
    return {"notes": [str(note) for note in notes], "note_kinds": [note.kind for note in notes]}


def from_record(record: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return the notes of a record; old ones have no kinds."""
    kinds = record.get("note_kinds") or map(_old_kind, record["notes"])
    return tuple(Note(text, kind) for text, kind in zip(record["notes"], kinds, strict=True))


def _old_kind(sentence: str) -> str:
    return next((kind for words, kind in OLD_SENTENCES.items() if words in sentence), PLAIN)
