"""What became of the rows of conversations, preferences and questions of yes or no, by key and by source.

May not know why a row is left out.
"""

from collections import Counter
from typing import Any

Row = dict[str, Any]
LANGUAGES = "conversation_languages"
FILES = {  # what is made of each key's rows, by split
    "conversations": {"train": "sft/train.jsonl", "validation": "sft/validation.jsonl"},
    "preferences": {
        "train": "preferences/train.jsonl",
        "validation": "preferences/validation.jsonl",
        "test": "test/preferences.jsonl",
    },
    "yesno": {"test": "test/yesno.jsonl"},
}


class Tally:
    """What became of the rows of one key, or of one source of it."""

    def __init__(self) -> None:
        self.read = self.inputs = 0  # messages with an `input` among them
        self.removed, self.kept = Counter[str](), Counter[str]()

    def drop(self, split: str, reason: str) -> None:
        """Remove what was kept."""
        self.kept[split] -= 1
        self.removed[reason] += 1

    def told(self) -> Row:
        return {"read": self.read, "removed": dict(sorted(self.removed.items())), "kept": dict(self.kept)}


Tallies = dict[str, dict[str, Tally]]  # of each key, of each source; "" where rows do not say what source they are of


def total(of_sources: dict[str, Tally]) -> Tally:
    """Of a key what became of the rows of all its sources."""
    whole = Tally()
    for one in of_sources.values():
        whole.read, whole.inputs = whole.read + one.read, whole.inputs + one.inputs
        whole.removed.update(one.removed)
        whole.kept.update(one.kept)
    return whole


def told(tallies: Tallies) -> dict[str, Row]:
    """What the manifest says: of each key, and of each source where the rows say theirs."""
    found = {}
    for what, of_sources in tallies.items():
        named = {name: one.told() for name, one in of_sources.items() if name}
        found[what] = total(of_sources).told() | ({"sources": named} if named else {})
    return found


def fault(tallies: Tallies) -> str | None:
    """What is lacking where no row is left for one of the files of a key, or none to learn from of a source."""
    for what, of_sources in tallies.items():
        whole = total(of_sources)
        for split, name in FILES[what].items():
            if not whole.kept[split]:
                remedy = "" if split == "train" or what == "yesno" else f"raise {split}_share, or "
                return f"nothing is left of `{what}` for {name}: {removals(whole)}: {remedy}name more of them"
        for name, one in of_sources.items():
            if name and not one.kept["train"]:
                silent = "say `any` where rows do not tell their language, or " * bool(one.removed[LANGUAGES])
                return f"nothing to train on is left of {name}, of `{what}`: {removals(one)}: {silent}leave it out"
    return None


def removals(tally: Tally) -> str:
    """
    >>> (tally := Tally()).removed.update(empty=1); removals(tally)
    '0 read, removed: empty 1'
    """
    listed = ", ".join(f"{reason} {count:,}" for reason, count in tally.removed.most_common()) or "none"
    return f"{tally.read:,} read, removed: {listed}"
