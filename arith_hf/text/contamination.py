"""Whether a document holds what an evaluation asks: n words in a row are in both.

May not know where either comes from.
"""

from collections.abc import Iterable, Iterator

from arith_hf.text.words import words

SHORTEST = 8  # words of an evaluation text that are looked for at all: fewer are found by chance


class Contamination:
    """The n-grams of the evaluation texts; one of fewer than n words counts as a whole.

    >>> known = Contamination(["Is the sky blue above the clouds on a clear day in May?"], n=8)
    >>> known.hit("He asked: is the SKY blue above the clouds, on the whole?"), known.hit("Is the sky blue?")
    (True, False)
    """

    def __init__(self, eval_texts: Iterable[str], n: int = 13) -> None:
        if n < 1:
            raise ValueError(f"need n-grams of at least 1 word, got {n}")
        self.n, self.grams = n, dict[int, set[str]]()
        self.add(eval_texts)

    def add(self, eval_texts: Iterable[str]) -> None:
        """Look for these too."""
        for text in eval_texts:
            found = words(text)
            if len(found) >= min(self.n, SHORTEST):
                size = min(self.n, len(found))
                self.grams.setdefault(size, set()).update(grams(found, size))

    def hit(self, text: str) -> bool:
        found = words(text)
        return any(gram in known for size, known in self.grams.items() for gram in grams(found, size))


def grams(found: list[str], size: int) -> Iterator[str]:
    """Each `size` words in a row, as one string; none of fewer."""
    return map(" ".join, zip(*(found[start:] for start in range(size)), strict=False))
