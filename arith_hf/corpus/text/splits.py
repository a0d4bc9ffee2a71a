"""The split of a text: from nothing but the text, so that no seed and no stage can put a training text into a test.

May not know what the text is of.
"""

import hashlib

from arith_hf.text.words import normalised

SALT = "arith-hf text split: "  # a change of it makes every test set that was ever measured another one


def split_of(text: str, validation_share: float, test_share: float) -> str:
    """`train`, `validation` or `test`: the same for texts that differ in case and punctuation alone."""
    digest = hashlib.sha256((SALT + normalised(text)).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if share < test_share else "validation" if share < test_share + validation_share else "train"


class Sides:
    """Which side each prompt stands on; the first place that it has is the only one."""

    def __init__(self) -> None:
        self.known: dict[bytes, str] = {}

    def admits(self, prompt: str, split: str) -> bool:
        """Whether the prompt may stand in this split, since it stands in no other."""
        key = hashlib.blake2b(normalised(prompt).encode(), digest_size=8).digest()
        return self.known.setdefault(key, split) == split
