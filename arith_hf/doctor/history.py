"""What a run of GRPO left, as figures: its log, its rollouts, its recipe, how far its weights moved.

May not know what is wrong with any of it. A trend is the last third of a curve against the first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from math import hypot, isfinite, sqrt
from statistics import fmean, variance
from typing import Any, TypeVar

from arith_hf import rewards

Row = dict[str, Any]
T = TypeVar("T")

MIN_POINTS = 6  # of a curve: two in each third, so that their scatter can be told
ERRORS = 2.0  # standard errors that a difference must exceed: chance does it one time in forty
PAIRED = 0.5  # of the variance of counting is left where the same problems are asked each time: most answers stay


@dataclass(frozen=True)
class Ends:
    """The mean of a curve over its first and its last third, and the standard error of their difference."""

    first: float
    last: float
    error: float

    @property
    def change(self) -> float:
        return self.last - self.first

    @property
    def rose(self) -> bool:
        return self.change > ERRORS * self.error

    def __str__(self) -> str:
        return f"from {figure(self.first)} to {figure(self.last)}"


@dataclass(frozen=True)
class Accuracy:
    """How right the model was: `what` was right, the ends of its curve, and how far it `fell`, in so many `errors`.

    That is from its first point, which is the parent's, or from the best third to the last, whichever is surer; 0 if by
    chance. The standard errors are of that fall.
    """

    what: str
    ends: Ends
    fell: float
    errors: float = 0.0

    def __str__(self) -> str:
        return f"{self.what} {self.ends.last + self.fell:.2f} at best and {self.ends.last:.2f} at the end"


@dataclass(frozen=True)
class History:
    """`log` is transformers' log_history, `rollouts` the recorder's rows of training, in order, or none.

    `moved` is the change of the weights, relative to the parent's; None with `unmoved` saying why it is not known.
    """

    log: list[Row]
    rollouts: list[Row] = field(default_factory=list)
    recipe: Row = field(default_factory=dict)
    updates: int = 0
    finished: bool = True
    moved: float | None = None
    unmoved: str = ""

    def curve(self, key: str) -> list[float]:
        """What was logged under a key, in order, without what is not finite."""
        return [row[key] for row in self.log if row.get(key) is not None and isfinite(row[key])]

    def key(self, name: str, otherwise: object = "its default") -> str:
        """`name` and its value in the recipe, for a remedy."""
        return f"{name} (now {self.recipe.get(name, otherwise)})"

    @property
    def paid_by(self) -> str:
        """The reward function to audit."""
        return str(self.recipe.get("reward_funcs", ["arith_hf.rewards.exact_answer"])[0])

    @cached_property
    def groups(self) -> list[list[Row]]:
        """The recorded groups, in order."""
        return [list(some) for _, some in groupby(self.rollouts, key=lambda row: (row["step"], row["group"]))]

    @cached_property
    def lasting(self) -> list[str]:
        """The reward functions whose pay does not fade, where that of another does; else none: the sum is judged."""
        keys = dict.fromkeys(key for row in self.log for key in row)
        names = [key.split("/")[1] for key in keys if key.startswith("rewards/") and key.endswith("/mean")]
        found = [name for name in names if name not in rewards.FADING]
        return found if len(found) < len(names) else []

    @property
    def pay(self) -> str:
        """What `reward` is, in words."""
        return f"reward of {' and '.join(self.lasting)}" if self.lasting else "reward"

    @cached_property
    def paid(self) -> list[float]:
        """The curve of the reward: the weighted sum, without what fades by design."""
        if not self.lasting:
            return self.curve("reward")
        names = [str(path).rpartition(".")[2] for path in self.recipe.get("reward_funcs") or []]
        weights = dict(zip(names, self.recipe.get("reward_weights") or [], strict=False))
        curves = [[weights.get(name, 1.0) * one for one in self.curve(f"rewards/{name}/mean")] for name in self.lasting]
        return [sum(row) for row in zip(*curves, strict=False)]

    @cached_property
    def reward(self) -> Ends | None:
        return scattered(self.paid)

    @cached_property
    def accuracies(self) -> list[Accuracy]:
        """Of held-out answers, greedy, and of the training rollouts, unless these were chosen by how hard they are."""
        n = self.recipe.get("num_eval_generations", 64)
        found = [counted("held-out accuracy (eval_exact_match)", self.curve("eval_exact_match"), int(n / PAIRED))]
        if self.rollouts and not self.recipe.get("sample_by"):
            steps = [list(some) for _, some in groupby(self.rollouts, key=lambda row: row["step"])]
            shares = [share(row["right"] for row in some) for some in steps]
            # counted by groups, as the rollouts of one are right or wrong together
            found.append(counted("share of right rollouts", shares, max(1, len(self.groups) // len(steps))))
        return [one for one in found if one]

    @property
    def gained(self) -> bool:
        """Whether reward or accuracy rose by more than chance."""
        return bool(self.reward and self.reward.rose) or any(one.ends.rose for one in self.accuracies)


# Sums


def thirds(values: Sequence[T]) -> tuple[Sequence[T], Sequence[T], Sequence[T]]:
    """First, middle and last; each of the outer two holds one at least, the middle what is left."""
    size = max(1, len(values) // 3)
    return values[:size], values[size : len(values) - size], values[len(values) - size :]


def scattered(values: Sequence[float]) -> Ends | None:
    """The ends of a curve, their error from its scatter; None where it has too few points."""
    if len(values) < MIN_POINTS:
        return None
    first, _, last = thirds(values)
    return Ends(fmean(first), fmean(last), sqrt(variance(first) / len(first) + variance(last) / len(last)))


def counted(what: str, shares: Sequence[float], n: int) -> Accuracy | None:
    """The ends of a curve of shares, each of `n`; to the error of its scatter comes that of counting."""
    if len(shares) < 2:
        return None
    parts = thirds(shares)
    first, middle, last = (fmean(part) if part else 0.0 for part in parts)
    each, ends = n * len(parts[0]), scattered(shares)
    error = hypot(counting_error(first, each, last, each), ends.error if ends else 0.0)
    falls = {max(first, middle) - last: error, shares[0] - last: counting_error(shares[0], n, last, each)}
    errors, fell = max((fall / chance, fall) for fall, chance in falls.items())
    return Accuracy(what, Ends(first, last, error), *((fell, errors) if errors > ERRORS else (0.0, 0.0)))


def counting_error(first: float, n: int, last: float, m: int) -> float:
    """The standard error of the difference of two shares, of n and of m; not 0 where a share is 0 or 1."""
    return sqrt((first * (1 - first) + 1 / n) / n + (last * (1 - last) + 1 / m) / m)


def share(flags: Iterable[Any]) -> float:
    """How many of them are true; 0 of none."""
    found = [bool(one) for one in flags]
    return sum(found) / len(found) if found else 0.0


def figure(number: float) -> str:
    return f"{number:.2f}" if 0.1 <= abs(number) < 1000 else f"{number:.2g}"
