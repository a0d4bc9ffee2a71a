"""Whether a document holds what an evaluation asks: n words in a row are in both.

May not know where either comes from. Words in a row are told by 64 bits of a hash, 8 bytes of memory each: a document
of a thousand words is taken for one that holds any of ten million with a chance of 5 in ten thousand million.
"""

from array import array
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from arith_hf.text import duplicates
from arith_hf.text.words import words

SHORTEST = 8  # words of an evaluation text that are looked for at all: fewer are found by chance
REMEMBERED = 1 << 16  # words whose hash is worked out once
Hashes: TypeAlias = npt.NDArray[np.int64]


class Contamination:
    """The n-grams of the evaluation texts; one of fewer than n words counts as a whole.

    >>> known = Contamination(["Is the sky blue above the clouds on a clear day in May?"], n=8)
    >>> known.hit("He asked: is the SKY blue above the clouds, on the whole?"), known.hit("Is the sky blue?")
    (True, False)
    """

    def __init__(self, eval_texts: Iterable[str], n: int = 13) -> None:
        if n < 1:
            raise ValueError(f"need n-grams of at least 1 word, got {n}")
        self.n, self.grams = n, dict[int, Hashes]()  # of each length, in ascending order
        odd = np.random.default_rng(0).integers(1 << 63, size=n, dtype=np.uint64) * 2 + 1
        self.odd: Hashes = odd.view(np.int64)  # what the words of a row are hashed by
        self.add(eval_texts)

    def add(self, eval_texts: Iterable[str], form: bool = False) -> None:
        """Look for these too; with `form` not for words in a row that two of them have: they are of their form."""
        more: dict[int, array[int]] = {}
        if form:
            eval_texts = dict.fromkeys(eval_texts)
        for text in eval_texts:
            found = hashes(text)
            if len(found) >= min(self.n, SHORTEST):
                size = min(self.n, len(found))
                grams = self.in_a_row(found, size)
                more.setdefault(size, array("q")).frombytes((np.unique(grams) if form else grams).tobytes())
        for size, written in more.items():
            fresh = np.frombuffer(written, np.int64)
            if form:
                fresh, counts = np.unique(fresh, return_counts=True)
                fresh = fresh[counts == 1]
            known = np.concatenate([self.grams.pop(size, hashes("")), fresh])
            known.sort()
            self.grams[size] = known

    def hit(self, text: str) -> bool:
        found = hashes(text)
        return any(among(known, self.in_a_row(found, size)) for size, known in self.grams.items() if len(found) >= size)

    def in_a_row(self, found: Hashes, size: int) -> Hashes:
        """The hash of each `size` words in a row, of at least as many."""
        return np.convolve(found, self.odd[:size], mode="valid")


def hashes(text: str) -> Hashes:
    """Of each word of a text."""
    found = words(text)
    return np.fromiter(map(key, found), np.int64, len(found))


key = lru_cache(REMEMBERED)(duplicates.key)


def among(known: Hashes, asked: Hashes) -> bool:
    """Whether one of those asked for is known."""
    asked = np.sort(asked)  # what follows is a third faster so
    return bool((known.take(np.searchsorted(known, asked), mode="clip") == asked).any())
