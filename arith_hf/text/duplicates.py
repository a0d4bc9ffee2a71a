"""Documents that were seen before: the same words, or nearly the same.

May not know where documents come from or go to. What was seen is remembered in a temporary SQLite file of its own (in
TMPDIR), so that memory is flat however many there are; the first of several copies stays.
"""

import hashlib
import sqlite3

import numpy as np
from rensa import RMinHash

from arith_hf.text.words import normalised, words

CACHE = 64 << 10  # KiB of the file that are kept in memory
MEET = 0.98  # of the pairs at the threshold, the share that are compared at all


class ExactDuplicates:
    """Copies that differ in case, punctuation and white space at most."""

    def __init__(self) -> None:
        self.file = temporary()
        self.file.execute("CREATE TABLE seen (key INTEGER PRIMARY KEY)")

    def seen(self, text: str) -> bool:
        """Whether it was asked for before; from now on it was.

        >>> exact = ExactDuplicates()
        >>> [exact.seen(text) for text in ("Hello, world", "Hello there", "hello  WORLD!")]
        [False, False, True]
        """
        return not self.file.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key(normalised(text)),)).rowcount


class NearDuplicates:
    """Texts most of whose `shingle` words in a row are in one that stayed: their Jaccard similarity, estimated by
    `num_perm` minimal hashes, is `threshold` or more.

    Two texts are compared if all hashes of a band are the same; of each band, the first text that has it is remembered.
    So no text is compared with more than there are bands, however many share a licence or a footer with it.
    """

    def __init__(self, threshold: float = 0.7, num_perm: int = 128, shingle: int = 3, seed: int = 0) -> None:
        if not 0 < threshold <= 1 or num_perm < 1 or shingle < 1 or not 0 <= seed < 1 << 64:
            said = f"threshold {threshold}, num_perm {num_perm}, shingle {shingle} and seed {seed}"
            raise ValueError(f"need 0 < threshold <= 1, num_perm and shingle > 0 and seed >= 0, got {said}")
        self.threshold, self.num_perm, self.shingle, self.seed = threshold, num_perm, shingle, seed
        shape = bands(threshold, num_perm)
        rng = np.random.default_rng(seed)
        self.odd = rng.integers(1 << 63, size=shape, dtype=np.uint64) * 2 + 1  # what a band is hashed by
        self.file = temporary()
        self.file.execute("CREATE TABLE bands (key INTEGER PRIMARY KEY, document INTEGER)")
        self.file.execute("CREATE TABLE documents (document INTEGER PRIMARY KEY, hashes BLOB)")
        marks = ", ".join("?" * shape[0])
        owners = f"SELECT document FROM bands WHERE key IN ({marks})"
        self.compared = f"SELECT hashes FROM documents WHERE document IN ({owners})"

    def seen(self, text: str) -> bool:
        """Whether one that stayed is nearly the same; if not, this one stays.

        >>> near = NearDuplicates(threshold=0.5)
        >>> seas = "they sailed across the seas to the islands of the south and came home with the first snow"
        >>> [near.seen(text) for text in (seas, "They sailed home.", seas.replace("first", "last").title())]
        [False, False, True]
        """
        hashes = self.hashes(text)
        banded = hashes[: self.odd.size].reshape(self.odd.shape)
        keys = (banded * self.odd).sum(axis=1).view(np.int64).tolist()
        others = [np.frombuffer(found, np.uint32) for (found,) in self.file.execute(self.compared, keys)]
        if any((other == hashes).mean() >= self.threshold for other in others):
            return True
        document = self.file.execute("INSERT INTO documents VALUES (NULL, ?)", (hashes.tobytes(),)).lastrowid
        self.file.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", ((key, document) for key in keys))
        return False

    def hashes(self, text: str) -> np.ndarray:
        """The minimal hashes of the shingles; a text of fewer words is one shingle, one without words is its marks."""
        found = words(text) or [ascii(text.strip())]
        size = min(self.shingle, len(found))
        minimal = RMinHash(self.num_perm, self.seed)
        minimal.update(map(" ".join, zip(*(found[start:] for start in range(size)), strict=False)))
        return np.array(minimal.digest(), np.uint32)


def bands(threshold: float, num_perm: int) -> tuple[int, int]:
    """How many bands of how many hashes: the longest for which pairs at the threshold meet in one with `MEET`.

    >>> bands(0.7, 128), bands(0.8, 128), bands(1.0, 128)
    ((25, 5), (18, 7), (1, 128))
    """
    lengths = [one for one in range(1, num_perm + 1) if 1 - (1 - threshold**one) ** (num_perm // one) >= MEET]
    length = max(lengths, default=1)
    return num_perm // length, length


def key(text: str) -> int:
    """64 bits: among ten million texts two share one with a probability of 3 in a million."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def temporary() -> sqlite3.Connection:
    """A database that is gone with its connection, and so needs no journal."""
    file = sqlite3.connect("", isolation_level=None)
    for said in (f"cache_size = -{CACHE}", "journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
        file.execute(f"PRAGMA {said}")
    file.execute("BEGIN")
    return file
