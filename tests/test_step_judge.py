"""The judges of both tasks on what a model might write: every right working is right, every planted fault is named."""

import random
from collections import Counter

import pytest
from corruption import COLUMNS, EXPRESSION, Planted, plant, plant_in_columns, trace
from hypothesis import given
from hypothesis import strategies as st

from arith_hf.notation import END_THINK, of
from arith_hf.tasks import addition, expression, get
from arith_hf.tasks.base import KINDS, Fault

FORMS = ("addition/columns", "addition/direct", "addition/reversed/zero_pad=9", "addition/columns/zero_pad=10")
seeds = st.integers(0, 10**9).map(str)


def judged(planted: Planted, form: str) -> Fault | None:
    return judge(form, planted.problem, planted.text)


def judge(form: str, problem: str, text: str) -> Fault | None:
    return get(form).judge(problem, of(form).read_working(text), of(form).read_answer(text))


def told(form: str, planted: list[Planted]) -> Counter[str]:
    """How many faults were caught, and how many of those rightly placed and named."""
    found = [(one, judged(one, form)) for one in planted]
    return Counter(
        caught=sum(fault is not None for _, fault in found),
        placed=sum(fault is not None and fault.index == one.index for one, fault in found),
        named=sum(fault is not None and fault.kind == one.kind for one, fault in found),
    )


def right_everywhere(form: str, problem: str) -> bool:
    """Whether the generated working of a problem is judged right, and so is each of its steps."""
    task, written = get(form), of(form)
    working = task.work(problem)
    text = written.completion(working)
    steps = written.read_working(text).steps
    valid = steps is None or task.valid_steps(problem, steps) == [True] * len(working.steps)
    return valid and judge(form, problem, text) is None


@pytest.mark.slow
def test_a_hundred_thousand_workings_are_right() -> None:
    rng = random.Random("workings")
    for _ in range(90_000):
        assert right_everywhere("expression", trace(rng).problem)
    for _ in range(2_000):
        assert right_everywhere("expression", expression.pose(rng, invalid=True))
    for _ in range(2_000):
        problem = addition.pose(rng, max_digits=9, max_operands=5, carry_rate=0.2)
        assert all(right_everywhere(form, problem) for form in FORMS)


@pytest.mark.slow
def test_ten_thousand_faults_are_caught_placed_and_named() -> None:
    faults = [plant(kind, f"{kind}/{index}") for index in range(770) for kind in EXPRESSION]
    found = told("expression", faults)
    assert found["caught"] == found["placed"] == len(faults) > 10_000
    assert found["named"] >= 0.999 * len(faults), found
    faults = [plant_in_columns(kind, f"{kind}/{index}") for index in range(1000) for kind in COLUMNS]
    found = told("addition/columns", faults)
    assert found["caught"] == len(faults) == 10_000
    assert found["placed"] >= 0.99 * len(faults), found
    assert found["named"] >= 0.99 * len(faults), found


@pytest.mark.parametrize("form", ["expression", "addition/columns"])
@given(data=st.data())
def test_a_working_with_any_one_character_changed_is_wrong(form: str, data: st.DataObject) -> None:
    """Put in, left out or replaced, up to the end tag: what stands there is what was written, or it is no step."""
    rng = random.Random(data.draw(seeds))
    problem = trace(rng).problem if form == "expression" else addition.pose(rng, max_digits=6, max_operands=3)
    text = of(form).completion(get(form).work(problem))
    thought, end = text[: text.index(END_THINK)], text[text.index(END_THINK) :]
    place = data.draw(st.integers(0, len(thought) - 1))
    odd = data.draw(st.sampled_from(["", *"0123456789+-()= \n:x"]))
    changed = thought[:place] + odd + thought[place + data.draw(st.integers(0, 1)) :]
    if changed != thought and form_of_break(changed) != form_of_break(thought):
        assert judge(form, problem, changed + end) is not None


def form_of_break(thought: str) -> str:
    """A line break before the end tag may be missing or stand there."""
    return thought.removesuffix("\n")


@given(seeds, st.sampled_from(sorted(EXPRESSION)))
def test_a_planted_fault_is_found_where_it_is(seed: str, kind: str) -> None:
    planted = plant(kind, seed)
    fault = judged(planted, "expression")
    assert fault is not None
    assert fault.index == planted.index
    assert fault.kind == kind or {fault.kind, kind} == {"operand", "order"}, "one operand may make another operation"


@given(seeds, st.sampled_from(COLUMNS))
def test_a_planted_fault_of_a_sum_is_found(seed: str, kind: str) -> None:
    planted = plant_in_columns(kind, seed)
    fault = judged(planted, "addition/columns")
    assert fault is not None
    # Of two columns with the same digits nobody can tell which is missing, or there again.
    assert (fault.index, fault.kind) == (planted.index, kind) or kind in ("dropped", "repeated")


def test_each_kind_is_planted_and_known() -> None:
    assert {*EXPRESSION, *COLUMNS} == {*KINDS} - {"cut"}


@pytest.mark.parametrize(
    ("problem", "thought", "index", "kind"),
    [
        ("(1 + 2) + (1 + 2)", "1 + 2 = 3/(1 + 2) + 3", 0, "order"),  # the operation due, at another place
        ("9 - (4 - 1)", "9 - 4 = 5/5 - 1", 0, "order"),  # side by side
        ("9 - (4 - 1)", "4 - 9 = -5/9 - -5", 0, "operand"),
        ("9 - (4 - 1)", "4 + 1 = 5/9 - 5", 0, "operand"),  # a wrong operator
        ("9 - (4 - 1)", "4 - 1 = 4/9 - 4", 0, "digit"),
        ("9 - (4 - 1)", "4 - 1 = 3/9 - 4", 0, "copy"),
        ("9 - (4 - 1)", "9 - 3 = 6/6", 0, "dropped"),
        ("9 - (4 - 1)", "4 - 1 = 3/9 - 3;9 - 3 = 6/6;6 + 0 = 6/6", 2, "surplus"),
        ("9 - (4 - 1)", "4 - 1 = 3/9 - 3;4 - 1 = 3/9 - 3", 1, "repeated"),
        ("9 - (4 - 1)", "4 - 1 = three/9 - 3", 0, "wording"),
        ("9 - (4 - 1)", "4 - 1 = 3/", 0, "copy"),
        ("9 - (4 - 1", "4 - 1 = 3/9 - 3", 0, "verdict"),
    ],
)
def test_kinds_by_example(problem: str, thought: str, index: int, kind: str) -> None:
    lines = [line.split("/") for line in thought.split(";")]
    steps = "".join(
        f"\nStep {number}: {done}\nExpression now: {now}" for number, (done, now) in enumerate(lines, start=1)
    )
    fault = judge("expression", problem, f"<think>{steps}\n</think>\nFinal Result: 6")
    assert fault is not None
    assert (fault.index, fault.kind) == (index, kind)


def test_steps_are_valid_by_what_was_written_before_them() -> None:
    form = of("expression")
    lines = ("4 - 1 = 2\nExpression now: 9 - 2", "9 - 2 = 7\nExpression now: 7 $", "7 - 0 = 7\nExpression now: 7")
    text = "<think>" + "".join(f"\nStep {number}: {line}" for number, line in enumerate(lines, start=3))
    assert expression.valid_steps("9 - (4 - 1)", form.read_working(text).steps or ()) == [False, False, False]
    mended = form.read_working(text.replace(" $", "")).steps or ()
    assert expression.valid_steps("9 - (4 - 1)", mended) == [False, True, False]
    assert expression.valid_steps("9 - (4 - 1", mended) == [False, True, False]
    assert expression.valid_steps("9", []) == []


@given(seeds, st.sampled_from(["digit", "copy"]))
def test_a_fault_that_is_gone_on_from_is_one_wrong_step(seed: str, kind: str) -> None:
    planted = plant(kind, seed)
    steps = of("expression").read_working(planted.text).steps or ()
    valid = expression.valid_steps(planted.problem, steps)
    assert valid.index(False) == planted.index
    assert valid.count(False) <= 2, "the step, and the one behind it where the rest stayed as it was"
