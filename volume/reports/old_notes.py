"""Kinds of the notes that were stored before notes had one, by words that only these sentences hold.

New notes are never searched: this table is for stored records alone, and does not grow.
"""

OLD_SENTENCES = {
    "The pilot, one adaptive run, reached ": "only-pilot",
    "its share is not resolved, below ": "unresolved",
    " replicates reached the class: this run cannot tell its volume from 0.": "summary",
    ": they count as 0 in the mean, ": "summary",
    " has a bound but no interval: give 8 replicates or more.": "summary",
    " and its interval are shaky, so the bound leads.": "summary",
}


def old_kind(sentence: str) -> str:
    """The kind of a stored sentence; "" for one that nothing was ever decided by."""
    return next((kind for words, kind in OLD_SENTENCES.items() if words in sentence), "")
