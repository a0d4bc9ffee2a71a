"""Documents that were seen before: the same words, or nearly the same.

May not know where documents come from or go to. What was seen is remembered in a temporary SQLite file of its own (in
TMPDIR), so that memory is flat however many there are; the first of several copies stays.
"""

import hashlib
import sqlite3

from arith_hf.text.words import normalised

CACHE = 64 << 10  # KiB of the file that are kept in memory


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
