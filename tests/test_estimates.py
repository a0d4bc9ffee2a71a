"""Estimates against what they estimate: every subset counted, every draw listed."""

import random
from collections import Counter
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arith_hf import estimates
from arith_hf.metric.exact_answer import wilson

said = st.lists(st.sampled_from(["3", "4", "5", estimates.SILENT]), min_size=1, max_size=8)


def taken(votes: tuple[str, ...]) -> float:
    """The chance that the right answer, 3, is taken of these votes: ties are broken evenly."""
    counts = Counter(vote for vote in votes if vote != estimates.SILENT)
    most = max(counts.values(), default=0)
    first = [vote for vote, count in counts.items() if count == most]
    return 1 / len(first) if "3" in first else 0.0


@given(said, st.data())
def test_estimates_are_means_over_every_subset(answers: list[str], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(answers)))
    subsets = list(combinations(answers, k))
    votes = Counter(answers)
    passed = fmean("3" in subset for subset in subsets)
    assert estimates.pass_at(len(answers), votes["3"], k) == pytest.approx(passed)
    assert estimates.majority_at(votes, "3", k) == pytest.approx(fmean(map(taken, subsets)))


@pytest.mark.parametrize(("chance", "k", "passed"), [(0, 16, 0), (1, 1, 1), (0.5, 3, 0.875), (1e-12, 16, 1.6e-11)])
def test_a_sure_chance_needs_no_samples(chance: float, k: int, passed: float) -> None:
    assert estimates.sure_pass_at(chance, k) == pytest.approx(passed, rel=1e-6)


def test_samples_estimate_what_the_chances_say() -> None:
    """Unbiased: over many problems both agree within the interval, for every k."""
    chance = random.Random(0)
    rows = []
    for _ in range(400):
        share = chance.random() ** 0.2
        right = sum(chance.random() < share for _ in range(16))
        rows.append(
            {"answer": "3", "chance": {"1.0": share}, "sampled": {"1.0": Counter({"3": right, "4": 16 - right})}}
        )
    found = estimates.sampling([*rows, {"answer": "3", "chance": {"1.0": 1.0}}])["1.0"]
    assert (found["n"], found["num_generations"], found["exact_n"]) == (400, 16, 401)
    assert list(found["pass_at"]) == list(found["majority_at"]) == ["1", "2", "4", "8", "16"]
    for k, estimated in found["pass_at"].items():
        low, high = estimated["interval"]
        assert low <= found["exact_pass_at"][k]["value"] <= high
    assert found["pass_at"]["1"] == found["majority_at"]["1"]
    values = [block["value"] for block in found["pass_at"].values()]
    assert values == sorted(values)


def test_ks_go_no_further_than_the_samples() -> None:
    rows = [{"answer": "3", "sampled": {"0.5": {"3": 2, "4": 3}, "1.0": {"3": 1}}}]
    found = estimates.sampling(rows)
    assert {heat: list(block["pass_at"]) for heat, block in found.items()} == {"0.5": ["1", "2", "4"], "1.0": ["1"]}
    assert found["1.0"]["exact_pass_at"] == {}
    assert found["1.0"]["pass_at"]["1"] == {"value": 1.0, "interval": wilson(1, 1)}


def test_calibration_by_hand() -> None:
    found = estimates.calibration([0.05, 0.91, 0.99, 1.0, 0.5], [False, True, True, False, True])
    assert (found["n"], sum(one["n"] for one in found["bins"])) == (5, 5)
    assert found["brier"] == pytest.approx((0.05**2 + 0.09**2 + 0.01**2 + 1 + 0.25) / 5, abs=1e-5)
    assert found["ece"] == pytest.approx((0.05 + 0.5 + 3 * abs(2.9 / 3 - 2 / 3)) / 5, abs=1e-5)
    assert [(one["low"], one["high"], one["n"]) for one in found["bins"]] == [(0, 0.1, 1), (0.5, 0.6, 1), (0.9, 1, 3)]


def test_a_calibrated_model_is_found_calibrated() -> None:
    chance = random.Random(1)
    sure = [chance.random() for _ in range(20_000)]
    assert estimates.calibration(sure, [chance.random() < one for one in sure])["ece"] < 0.02
    assert estimates.calibration([one / 2 + 0.5 for one in sure], [chance.random() < one for one in sure])["ece"] > 0.2
