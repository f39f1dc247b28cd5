"""Notes keep their kind in files, and old stored sentences get theirs from one table."""

import json
import math
import pickle

import pytest

import volume.reports.entries as entries
from volume.reports.entries import ReplicatedVolume, replicated_volume
from volume.reports.notes import ONLY_PILOT, SUMMARY, UNRESOLVED, Note, from_record


def test_a_kind_survives_a_record():
    entry = replicated_volume("a", [-3.0, -1.0, -2.2], notes=["Said.", Note("Why.", ONLY_PILOT)])
    assert [note.kind for note in entry.notes] == [SUMMARY, "", ONLY_PILOT]
    record = json.loads(json.dumps(entry.to_dict(), allow_nan=False))
    assert record["notes"][1:] == ["Said.", "Why."]
    again = entries.entry_from_dict(record)
    assert again == entry
    assert isinstance(again, ReplicatedVolume)
    assert [note.kind for note in again.notes] == [SUMMARY, "", ONLY_PILOT]


@pytest.mark.parametrize(
    "logs",
    [[-math.inf] * 3, [-math.inf, -2.0], [-2.0], [-1.0, -4.0, -9.0]],
    ids=["none", "dead", "alone", "spread"],
)
def test_sentences_stored_before_there_were_kinds_get_the_same_kind(logs):
    entry = replicated_volume("a", logs, notes=["From a method."])
    record = entry.to_dict()
    kinds = record.pop("note_kinds")
    assert kinds == [SUMMARY, ""]
    assert [note.kind for note in from_record(record)] == kinds


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("The pilot, one adaptive run, reached the class, of volume about 10^-3.20: why.", ONLY_PILOT),
        (
            "Met by 1 of 8 replicates: its share is not resolved, below 0.21. Give resolve=True for a run of its own.",
            UNRESOLVED,
        ),
        ("The interval wanted would take more than 1,024 particles: give more moves or replicates.", ""),
    ],
)
def test_what_a_run_wrote_before_there_were_kinds(sentence, kind):
    assert [note.kind for note in from_record({"notes": [sentence]})] == [kind]


def test_a_shift_writes_the_sentence_with_a_volume_anew_and_keeps_the_others():
    entry = replicated_volume("a", [-1.0, -4.0, -9.0], notes=["Kept."])
    moved = entry.shifted(-5.0)
    assert moved.notes[0] != entry.notes[0]
    assert moved.notes[0] == replicated_volume("a", [-6.0, -9.0, -14.0]).notes[0]
    assert moved.notes[1:] == ("Kept.",)


def test_a_kind_survives_a_pickle():
    again = pickle.loads(pickle.dumps(Note("Why.", ONLY_PILOT)))
    assert (again, again.kind) == ("Why.", ONLY_PILOT)
