"""Single draws: the split of a problem, problems of a split, facts."""

import random
from collections import Counter

import pytest

from arith_hf.corpus.expression import Arguments as CorpusArguments
from arith_hf.corpus.expression import rows as draw
from arith_hf.notation import expression as notation
from arith_hf.tasks import expression as task
from arith_hf.tasks import shapes


def test_the_salt_is_never_changed():
    """Another salt moves problems that models were trained on into the tests."""
    splits = {split: [n for n in range(1, 21) if draw.split_of(str(n)) == split] for split in ("validation", "test")}
    assert splits == {"validation": [7, 19], "test": [6, 15]}
    singles = Counter(draw.split_of(f"{a} {o} {b}") for a in range(1, 21) for b in range(1, 21) for o in "+-")
    assert singles == {"train": 637, "validation": 77, "test": 86}


def test_the_share_of_each_split():
    splits = Counter(draw.split_of(task.normalise(task.pose(random.Random(f"share/{n}")))) for n in range(3000))
    assert splits["train"] / 3000 == pytest.approx(0.8, abs=0.03)
    assert splits["test"] / 3000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("knobs", [{}, {"invalid": True}, {"typed": True}, {"min_depth": 5, "max_depth": 5}])
def test_posed_problems_are_in_the_split(split, knobs):
    for index in range(20):
        expression = draw.pose(random.Random(f"posed/{index}"), split, CorpusArguments(), **knobs)
        assert draw.split_of(task.normalise(expression)) == split
        assert task.kind(expression) == ("invalid" if "invalid" in knobs else "valid")


def test_facts_are_those_of_workings_with_numbers_up_to_a_bound():
    recipe = CorpusArguments(drill_range=100)
    facts = [draw.fact(random.Random(f"fact/{index}"), "train", recipe) for index in range(4000)]
    operands = [abs(operand) for fact in facts for operand in (fact.left, fact.right)]
    assert sum(operand <= 20 for operand in operands) / 8000 == pytest.approx(0.22, abs=0.03)
    assert sum(operand > 100 for operand in operands) / 8000 == pytest.approx(0.12, abs=0.03)
    assert {fact.operator for fact in facts} == {"+", "-"}
    assert any(fact.left < 0 for fact in facts)
    assert any(fact.right < 0 for fact in facts)


def test_facts_in_a_line_are_single_ones(monkeypatch):
    """Large numbers are trained on in single facts alone: no step may take the result of another."""
    monkeypatch.setattr(draw, "AS_FACTS", 1.0)
    recipe, counts = CorpusArguments(drill_range=100), Counter()
    for index in range(200):
        given, learned = draw.excerpt(random.Random(f"facts/{index}"), "train", recipe)
        line = notation.posed(given)
        assert task.kind(line) == "invalid"
        assert draw.split_of(task.normalise(line)) == "train"
        facts = notation.facts(given + learned)
        assert all(f"({fact})" in line for fact in facts)
        counts[len(facts)] += 1
    assert set(counts) == set(draw.FACTS)


def test_a_line_of_few_items_is_drawn_too():
    recipe = CorpusArguments(drill_range=100, excerpt_items=1)
    for index in range(60):
        given, _ = draw.excerpt(random.Random(f"few/{index}"), "validation", recipe)
        assert task.kind(notation.posed(given)) == "invalid"


def test_malformed_rows_are_not_more_nested_than_good_ones():
    """Else fine-tuning teaches that what is deeper than known is malformed."""
    recipe = CorpusArguments(sft_invalid_rate=0.5, typed_rate=0.2)
    rows = [draw.sft_row(random.Random(f"sft/{index}"), "train", recipe) for index in range(400)]
    most = {
        kind: max(shapes.nesting(row["expression"]) for row in rows if row["kind"] == kind)
        for kind in ("valid", "invalid")
    }
    assert most["invalid"] <= most["valid"] == 3


def test_a_split_without_facts_is_an_error():
    with pytest.raises(ValueError, match="found no fact in the empty split with numbers 1 to 1: widen them"):
        draw.fact(random.Random(0), "empty", CorpusArguments(drill_range=1))


def test_depths_are_drawn_by_their_weights():
    recipe = CorpusArguments(depth_weights=[1, 0, 0, 3], typed_rate=0)
    drawn = [draw.pose_mixed(random.Random(f"weights/{index}"), "train", recipe, 0.0) for index in range(400)]
    levels = Counter(task.level(expression) for expression in drawn)
    assert set(levels) == {1, 4}
    assert levels[4] / 400 == pytest.approx(0.75, abs=0.08)


def test_single_operations_have_the_numbers_of_drills():
    recipe = CorpusArguments(single_rate=1, typed_rate=0, invalid_rate=0, drill_range=1000)
    drawn = [draw.pose_mixed(random.Random(f"single/{index}"), "train", recipe, 0.0) for index in range(200)]
    workings = [task.work(expression) for expression in drawn]
    assert all(len(working.steps) == 1 for working in workings)
    assert max(abs(working.steps[0].left) for working in workings) > 300
    assert all(draw.split_of(expression) == "train" for expression in drawn)
