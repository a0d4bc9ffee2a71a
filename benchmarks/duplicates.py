"""Whether near-duplicates are found in a corpus of any size with little memory: documents are made, of each kind of
edit copies among them, and asked for one after the other.

May not know how a duplicate is found. A document follows from its number, so that nothing is kept but the counts; a
copy is of any earlier one. Others share a footer with a quarter of all, or half of their sentences with an earlier one.

    python -m benchmarks.duplicates --megabytes 1000
"""

import argparse
import json
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from arith_hf.text.duplicates import NearDuplicates

FOUND, WRONG = 0.95, 0.01  # of the copies at least, of the others at most
WORDS = 20_000
LETTERS = "etaoinshrdlucmfpgwybvkáéíóúñ"
SENTENCE = re.compile(r"(?<=\.) ")


def main(argv: Sequence[str] | None = None) -> int:
    own = read(argv)
    row = measure(NearDuplicates(own.threshold, own.num_perm, own.shingle, own.seed), own)
    print(json.dumps(row))
    good = (row["found"] >= FOUND or not row["copies"]) and row["wrong"] <= WRONG and row["peak_rss_mb"] < own.rss_mb
    return int(not good)


def read(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.duplicates", allow_abbrev=False)
    parser.add_argument("--megabytes", type=float, default=100, help="of text, UTF-8")
    parser.add_argument("--share", type=float, default=0.5, help="of the documents that are edited copies")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--num_perm", type=int, default=128)
    parser.add_argument("--shingle", type=int, default=3, help="words")
    parser.add_argument("--rss_mb", type=float, default=2000, help="status 1 from this peak of resident memory on")
    parser.add_argument("--seed", type=int, default=0)
    own = parser.parse_args(argv)
    if own.megabytes <= 0 or not 0 <= own.share < 1:
        raise SystemExit(f"need megabytes > 0 and 0 <= share < 1, got {own.megabytes} and {own.share}")
    return own


def measure(near: NearDuplicates, own: argparse.Namespace) -> dict[str, Any]:
    """Ask for documents until there are so many megabytes of them."""
    size, asking, working, began = 0, 0.0, 0.0, time.perf_counter()
    made: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    memory = [resident()]
    bar = tqdm(
        total=own.megabytes, desc="asking", unit="MB", bar_format="{desc} {percentage:.0f}% {elapsed}<{remaining}"
    )
    for kind, text in stream(own.seed, own.share):
        started, busy = time.perf_counter(), time.process_time()
        gone = near.seen(text)
        asking += time.perf_counter() - started
        working += time.process_time() - busy
        made[kind] += 1
        removed[kind] += gone
        size += (added := len(text.encode()))
        bar.update(added / 1e6)
        if size >= own.megabytes * 1e5 * len(memory):
            memory.append(resident())
        if size >= own.megabytes * 1e6:
            break
    bar.close()
    copies = {kind: made[kind] for kind in EDITS}
    others = {kind: made[kind] for kind in made.keys() - EDITS.keys()}
    return {
        "megabytes": round(size / 1e6, 1),
        "documents": made.total(),
        "copies": sum(copies.values()),
        "found": share(removed, copies),
        "wrong": share(removed, others),
        "kinds": {kind: share(removed, {kind: made[kind]}) for kind in sorted(made)},
        "seconds": round(asking, 1),
        "cpu_seconds": round(working, 1),  # other programs count little
        "seconds_in_all": round(time.perf_counter() - began, 1),
        "mb_per_cpu_second": round(size / 1e6 / working, 2),
        "rss_mb": memory,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        **{name: getattr(own, name) for name in ("threshold", "num_perm", "shingle", "share", "seed")},
    }


def share(removed: Counter[str], made: dict[str, int]) -> float:
    return round(sum(removed[kind] for kind in made) / max(sum(made.values()), 1), 5)


def resident() -> float:
    """Megabytes of memory that the process holds now."""
    return round(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6, 1)


# Documents and their copies


def stream(seed: int, copied: float) -> Iterator[tuple[str, str]]:
    """The kind of each document and its text, without end."""
    rng = random.Random(f"duplicates/{seed}")
    numbers = 0
    while True:
        if numbers and rng.random() < copied:
            kind = rng.choice(sorted(EDITS))
            yield kind, EDITS[kind](document(seed, rng.randrange(numbers)), rng)
        else:
            yield "related" if numbers % 10 == 9 else "new", document(seed, numbers)
            numbers += 1


def document(seed: int, number: int) -> str:
    """Sentences of 60 to 600 words; each tenth quotes half of another; a quarter end with one of five footers."""
    rng = random.Random(f"duplicates/{seed}/{number}")
    said = sentences(rng, rng.randint(60, 600))
    if number % 10 == 9:
        other = SENTENCE.split(document(seed, rng.randrange(number // 10 + 1) * 10))
        kept = said[: len(other)]
        said = other[: len(kept) // 2] + kept[len(kept) // 2 :]
    if number % 4 == 0:
        said += sentences(random.Random(f"footer/{rng.randrange(5)}"), 30)
    return " ".join(said)


def sentences(rng: random.Random, length: int) -> list[str]:
    drawn = rng.choices(vocabulary(), cum_weights=weights(), k=length)
    said: list[str] = []
    while drawn:
        end = rng.randint(6, 20)
        said.append(" ".join(drawn[:end]).capitalize() + ".")
        drawn = drawn[end:]
    return said


@cache
def vocabulary() -> list[str]:
    """Words that no language has, the frequent ones first."""
    rng = random.Random("vocabulary")
    return ["".join(rng.choices(LETTERS, k=rng.randint(1 + rank // 10000, 9))) for rank in range(WORDS)]


@cache
def weights() -> list[float]:
    """Of Zipf's law, added up."""
    return list(accumulate(1 / (rank + 3) for rank in range(WORDS)))


# Edits


def changed(text: str, rng: random.Random) -> str:
    """One word of 25 is another."""
    drawn = text.split(" ")
    for place in rng.sample(range(len(drawn)), max(len(drawn) // 25, 1)):
        drawn[place] = rng.choice(vocabulary())
    return " ".join(drawn)


def swapped(text: str, rng: random.Random) -> str:
    """Two sentences are in each other's place."""
    said = SENTENCE.split(text)
    one, other = rng.sample(range(len(said)), 2)
    said[one], said[other] = said[other], said[one]
    return " ".join(said)


def dressed(text: str, rng: random.Random) -> str:
    """Other marks, another case, other lines."""
    marked = re.sub(r"\w+", lambda word: word[0] + rng.choice(("", "", "", ",", " -", ";", "\n")), text)
    return rng.choice((marked.upper(), marked.title(), marked.replace(".", "!")))


def cut(text: str, rng: random.Random) -> str:
    """The last tenth to fifth is missing."""
    return text[: int(len(text) * rng.uniform(0.8, 0.9))]


def framed(text: str, rng: random.Random) -> str:
    """A sentence before it and one after it."""
    return " ".join([*sentences(rng, 6), text, *sentences(rng, 4)])


EDITS = {"changed": changed, "swapped": swapped, "dressed": dressed, "cut": cut, "framed": framed}

if __name__ == "__main__":
    sys.exit(main())
