"""What many samples of a problem are worth, and what a model's own confidence is: shares with their intervals.

May not know a model, a task or a file: counts and probabilities in, numbers out. An interval is Wilson's at 95 %, over
problems. Of means of numbers between 0 and 1 it is a cautious one: nothing between 0 and 1 varies more than yes or no
does, and it is not empty where all problems came out alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import comb, expm1, inf, isfinite, log1p
from typing import Any

from arith_hf.metric.exact_answer import wilson

KS = (1, 2, 4, 8, 16)
SILENT = "none"  # among the votes: a sample whose answer cannot be read
BINS = 10
Row = dict[str, Any]


def pass_at(n: int, right: int, k: int) -> float:
    """The chance that one at least of k samples is right, of n that were drawn (Chen et al. 2021, arXiv 2107.03374).

    >>> pass_at(4, 1, 1), pass_at(4, 1, 2), pass_at(4, 4, 2)
    (0.25, 0.5, 1.0)
    """
    return 1 - comb(n - right, k) / comb(n, k)


def majority_at(votes: Mapping[str, int], answer: str, k: int) -> float:
    """The chance that most of k samples, drawn from all of them, say the answer; those that say nothing have no vote.

    Of several answers that as many samples say each is as likely to be taken. In closed form, so nothing is drawn.

    >>> majority_at({"3": 2, "4": 2}, "3", 4), majority_at({"3": 3, "4": 1}, "3", 1), majority_at({"none": 9}, "3", 9)
    (0.5, 0.75, 0.0)
    """
    others = tuple(sorted(count for said, count in votes.items() if said not in (answer, SILENT)))
    return majority(votes.get(answer, 0), others, votes.get(SILENT, 0), k)


@lru_cache(maxsize=4096)
def majority(right: int, others: tuple[int, ...], silent: int, k: int) -> float:
    """That of so many right samples, others by their answers and silent ones; most problems share their counts."""
    ways = 0.0
    for most in range(1, min(right, k) + 1):
        ways += comb(right, most) * sum(
            number * comb(silent, k - most - drawn) / (1 + tied)
            for (drawn, tied), number in draws(others, most).items()
            if k - most - drawn >= 0
        )
    return ways / comb(right + sum(others) + silent, k)


def draws(others: Sequence[int], most: int) -> dict[tuple[int, int], int]:
    """How often other answers are drawn, each `most` times at most: by samples drawn and answers drawn so often."""
    found = {(0, 0): 1}
    for count in others:
        after: dict[tuple[int, int], int] = {}
        for (drawn, tied), number in found.items():
            for more in range(min(count, most) + 1):
                key = drawn + more, tied + (more == most)
                after[key] = after.get(key, 0) + number * comb(count, more)
        found = after
    return found


def sure_pass_at(chance: float, k: int) -> float:
    """The chance that one at least of k samples is what has this chance at each: nothing need be drawn.

    >>> sure_pass_at(0.5, 2), sure_pass_at(1.0, 16)
    (0.75, 1.0)
    """
    return -expm1(k * (log1p(-chance) if chance < 1 else -inf))


def sampling(rows: Sequence[Row]) -> Row:
    """By temperature, of rows with their `answer`, the votes of their samples (`sampled`) and `chance`.

    `pass_at` and `majority_at` count right answers; `exact_pass_at` right workings, which each problem has one of: from
    the model's probability of it, for every row.
    """
    temperatures = dict.fromkeys(key for row in rows for key in (*row.get("chance", ()), *row.get("sampled", ())))
    found = {}
    for temperature in temperatures:
        voted = [(row["sampled"][temperature], row["answer"]) for row in rows if temperature in row.get("sampled", ())]
        chances = [row["chance"][temperature] for row in rows if temperature in row.get("chance", ())]
        n = sum(voted[0][0].values()) if voted else 0
        counts = [k for k in KS if k <= n]
        found[temperature] = {
            "n": len(voted),
            "num_generations": n,
            "pass_at": {str(k): mean([pass_at(n, votes.get(one, 0), k) for votes, one in voted]) for k in counts},
            "majority_at": {str(k): mean([majority_at(votes, one, k) for votes, one in voted]) for k in counts},
            "exact_n": len(chances),
            "exact_pass_at": {str(k): mean([sure_pass_at(one, k) for one in chances]) for k in KS if chances},
        }
    return found


def require_finite(logprobs: Sequence[float]) -> None:
    """ValueError where what a model makes of texts are no numbers, as nothing can be told of it then."""
    if odd := sum(not isfinite(one) for one in logprobs):
        raise ValueError(
            f"{odd} of {len(logprobs)} likelihoods are no finite numbers: the training of this model diverged; train "
            "it again with a lower learning_rate, or in float32"
        )


def mean(values: Sequence[float]) -> Row:
    """The mean of numbers between 0 and 1, one for each problem, and its interval."""
    return {"value": round(sum(values) / len(values), 4), "interval": wilson(sum(values), len(values))}


def calibration(confidences: Iterable[float], right: Iterable[bool]) -> Row:
    """How well confidences, 0 to 1, tell what is right: Brier score, expected calibration error, bins of like width.

    >>> calibration([1.0, 0.95, 0.2], [True, False, False])["bins"][1]
    {'low': 0.9, 'high': 1.0, 'n': 2, 'confidence': 0.975, 'accuracy': 0.5}
    """
    pairs = list(zip(confidences, right, strict=True))
    binned: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for one in pairs:
        binned[min(int(one[0] * BINS), BINS - 1)].append(one)
    bins = [
        {
            "low": place / BINS,
            "high": (place + 1) / BINS,
            "n": len(some),
            "confidence": sum(one for one, _ in some) / len(some),
            "accuracy": sum(good for _, good in some) / len(some),
        }
        for place, some in enumerate(binned)
        if some
    ]
    apart = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins)
    return {
        "n": len(pairs),
        "brier": round(sum((one - good) ** 2 for one, good in pairs) / len(pairs), 5),
        "ece": round(apart / len(pairs), 5),
        "bins": [{key: round(value, 4) for key, value in one.items()} for one in bins],
    }
