"""What a few seeds prove: mean, interval and p-value by Student's t, in plain Python (no library of the stack has it).

>>> mean, interval = spread([0.991, 0.993, 0.992])
>>> round(mean, 4), [round(end, 4) for end in interval]
(0.992, [0.9895, 0.9945])
>>> round(p_at_least([0.991, 0.993, 0.992], 0.99), 4)
0.0371
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, variance


def tail(t: float, df: float) -> float:
    """P(T > t) of Student's t: with t = sqrt(df) tan(a) its density is that of cos(a)^(df - 1)."""
    if t < 0:
        return 1 - tail(-t, df)

    def density(angle: float) -> float:
        return max(math.cos(angle), 0.0) ** (df - 1)

    return simpson(density, math.atan(t / df**0.5), math.pi / 2) / (2 * simpson(density, 0.0, math.pi / 2))


def simpson(f: Callable[[float], float], low: float, high: float, parts: int = 2000) -> float:
    width = (high - low) / parts
    inner = sum((4 if index % 2 else 2) * f(low + index * width) for index in range(1, parts))
    return width / 3 * (f(low) + inner + f(high))


def quantile(df: float, above: float = 0.025) -> float:
    """The t that a share `above` of the distribution lies beyond.

    >>> round(quantile(2), 3), round(quantile(9), 3)
    (4.303, 2.262)
    """
    low, high = 0.0, 1000.0  # at one degree of freedom, the widest, it is 12.7
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, df) > above else (low, middle)
    return low


def spread(values: Sequence[float]) -> tuple[float, list[float] | None]:
    """Mean and its 95 % interval over seeds; None for the interval of one seed."""
    mean = fmean(values)
    if len(values) < 2:
        return mean, None
    half = quantile(len(values) - 1) * (variance(values) / len(values)) ** 0.5
    return mean, [mean - half, mean + half]


def p_at_least(values: Sequence[float], level: float) -> float | None:
    """p-value of the claim that the true mean is above `level`: one-sided one-sample t-test, the null being `level`.

    None where there is no spread to judge by: one seed, or all alike.
    """
    if len(values) < 2 or variance(values) == 0:
        return None
    return tail((fmean(values) - level) / (variance(values) / len(values)) ** 0.5, len(values) - 1)


def difference(ours: Sequence[float], base: Sequence[float]) -> tuple[float, list[float] | None]:
    """Difference of two means and its 95 % interval (Welch); None for the interval where a side has one seed or no
    spread."""
    gap = fmean(ours) - fmean(base)
    if min(len(ours), len(base)) < 2:
        return gap, None
    parts = [(variance(side) / len(side), len(side) - 1) for side in (ours, base)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return gap, None
    half = quantile(total**2 / sum(part**2 / df for part, df in parts)) * total**0.5
    return gap, [gap - half, gap + half]
