"""The written form, byte for byte, and how it is read back."""

import random

import pytest
from corruption import EXPRESSION, plant
from hypothesis import given
from hypothesis import strategies as st

from arith_hf.notation import expression as notation
from arith_hf.tasks import expression as task
from arith_hf.tasks.base import ERROR, Step, Working
from arith_hf.tasks.grammar import UnknownCharacter
from arith_hf.vocabulary import train

seeds = st.integers(0, 10**9).map(random.Random)


# Written (rows S0.2 and S0.3)


@pytest.mark.parametrize(
    ("expression", "solution"),
    [
        (
            "5 + (10 - 3)",
            "<think>\nStep 1: 10 - 3 = 7\nExpression now: 5 + 7\nStep 2: 5 + 7 = 12\nExpression now: 12\n</think>\n"
            "Final Result: 12",
        ),
        (
            "(2 - 5) - (4 - 8)",
            "<think>\nStep 1: 2 - 5 = -3\nExpression now: -3 - (4 - 8)\nStep 2: 4 - 8 = -4\nExpression now: -3 - -4\n"
            "Step 3: -3 - -4 = 1\nExpression now: 1\n</think>\nFinal Result: 1",
        ),
        (
            "2+3-4+1",
            "<think>\nStep 1: 2 + 3 = 5\nExpression now: (5 - 4) + 1\nStep 2: 5 - 4 = 1\nExpression now: 1 + 1\n"
            "Step 3: 1 + 1 = 2\nExpression now: 2\n</think>\nFinal Result: 2",
        ),
        ("4", "<think>\n</think>\nFinal Result: 4"),
        ("((-4))", "<think>\n</think>\nFinal Result: -4"),
        ("5 +", "<think>Evaluation ERROR</think>\nFinal Result: ERROR"),
    ],
)
def test_the_solution_byte_for_byte(expression, solution):
    assert notation.completion(task.work(expression)) == solution


def test_a_prompt_is_the_problem_and_a_line_break():
    assert notation.problem("5+( 10 - 3)") == "Evaluate: 5 + (10 - 3)"
    assert notation.prompt("Evaluate: 5") == "Evaluate: 5\n"


@given(seeds, st.booleans())
def test_one_think_and_one_boundary(rng, invalid):
    expression = task.pose(rng, invalid=invalid)
    prompt = notation.prompt(notation.problem(expression))
    solution = notation.completion(task.work(expression))
    assert (prompt + solution).count(notation.THINK) == (prompt + solution).count(notation.END_THINK) == 1
    assert prompt.endswith("\n")
    assert solution.startswith(notation.THINK)
    assert not any(word.startswith("\n<think>") for word in notation.KEYWORDS)  # none may straddle the boundary


@pytest.mark.parametrize("head", ["", "Evaluate: ", "evaluate:", "  EVALUATE :\t"])
def test_ask_takes_what_a_person_types(head):
    assert notation.ask(head + "5+(10 -3) ") == "Evaluate: 5 + (10 - 3)\n"
    with pytest.raises(UnknownCharacter, match=rf"'x' at column {len(head) + 3}:"):
        notation.ask(head + "5+x")


def test_keywords_that_hold_others_come_first():
    for index, word in enumerate(notation.KEYWORDS):
        assert not any(earlier in word for earlier in notation.KEYWORDS[:index])


# Read back


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\n</think>\nFinal Result: 12", 12),
        ("<think>\n</think>\nFinal Result: -12\n ", -12),
        ("<think>Evaluation ERROR</think>\nFinal Result: ERROR", ERROR),
        ("<think>\n</think>\nFinal Result: 12\nFinal Result: 13", 13),  # the last one counts
        ("<think>\nFinal Result: 12\n</think>\nFinal Result: 13", 13),
        ("<think>\n</think>\nFinal Result:13", 13),
        ("<think>\n</think>\nFinal Result: 007", 7),  # leading zeros and -0 are the integer that they write
        ("<think>\n</think>\nFinal Result: -0", 0),
        ("Final Result: 12", None),  # before </think>: a prompt or a thought, never an answer
        ("<think>\nFinal Result: 12\n</think>", None),
        ("<think>\n</think>\n12", None),
        ("<think>\n</think>\nFinal Result: ", None),
        ("<think>\n</think>\nFinal Result: 12 apples", None),
        ("<think>\n</think>\nFinal Result: 12.0", None),
        ("<think>\n</think>\nFinal Result: 1 2", None),
        ("<think>\n</think>\nFinal Result: - 12", None),
        ("<think>\n</think>\nFinal Result: +12", None),
        ("<think>\n</think>\nFinal Result: 1_2", None),
        ("<think>\n</think>\nFinal Result: ١٢", None),
        ("<think>\n</think>\nFinal Result: ²", None),
        ("<think>\n</think>\nFinal Result: error", None),
        ("<think>\n</think>\nFinal Result: ERRORERROR", None),
        ("<think>\n</think>\nFinal Result: 12<eos>", None),
        ("<think>\n</think>\nFinal Result: 12\nFinal Result: x", None),
        ("<think>\n</think>\nFinal Result: " + "9" * 10_000, None),  # more digits than Python would read
        ("", None),
    ],
)
def test_read_answer(text, answer):
    assert notation.read_answer(text) == answer
    assert type(notation.read_answer(text)) is type(answer)


@given(st.integers(), st.text(max_size=20))
def test_whatever_precedes_the_answer_is_not_read(answer, thought):
    assert notation.read_answer(f"{thought}</think>\nFinal Result: {answer}") == answer


@given(seeds, st.booleans())
def test_a_working_survives_its_text(rng, typed):
    working = task.work(task.pose(rng, typed=typed))
    text = notation.completion(working)
    assert Working(tuple(notation.read_steps(text)), notation.read_answer(text)) == working


@given(seeds, st.booleans(), st.booleans(), st.data())
def test_a_right_beginning_is_resumed_to_the_right_working(rng, typed, invalid, data):
    expression = task.pose(rng, typed=typed, invalid=invalid)
    prompt = data.draw(st.sampled_from([notation.ask, lambda one: notation.hinted(notation.problem(one), 13)]))(
        expression
    )
    text = prompt + notation.completion(task.work(expression))
    assert notation.resumed(text[: data.draw(st.integers(len(prompt), len(text)))]) == text


@given(seeds, st.data())
def test_a_planted_result_is_worked_on_with(rng, data):
    expression = task.pose(rng, max_depth=5)
    working, index = task.plant(expression, rng) or (task.work(expression), 0)
    text, begun = notation.completion(working), notation.begun(working, index + 1)
    assert text.startswith(begun)
    assert notation.resumed(notation.ask(expression) + begun) == notation.ask(expression) + text
    assert notation.read_steps(begun) == list(working.steps[: index + 1])


@given(st.sampled_from([*EXPRESSION]), st.integers(0, 10**9), st.data())
def test_whatever_is_written_stays_when_it_is_resumed(kind, seed, data):
    planted = plant(kind, str(seed))
    text = notation.ask(planted.problem) + planted.text
    begun = text[: data.draw(st.integers(0, len(text)))]
    assert notation.resumed(begun).startswith(begun)


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("\nStep 1: 10 - 3 = ", "7\nExpression now: 5 + 7\nStep 2: 5 + 7 = 12"),
        ("\nStep 1: 10 - 3 = 7\nExpression now: 6", " + 7\nStep 2: 6 + 7 = 13"),  # miscopied, and worked on from
        ("\nStep 1: 10 - 3 = 8\nExpression now: 5 + 7", "\nStep 2: 5 + 7 = 12"),
        ("\nStep 1: 10 - 3 = 8\nExpr", "ession now: 5 + 8\nStep 2: 5 + 8 = 13"),
        ("\n</think>", "\nFinal Result: 12"),
        ("\nStep 1: 10 - 3 = 7\nExpression now: (5 + 7\nSt", "ep 2: 5 + 7 = 12\nExpression now: (12\n</think>"),
        ("\nStep 10: ", "10 - 3 = 7\nExpression now: 5 + 7\nStep 11: 5 + 7 = 12"),
        ("\nStep 3: 10 - 3 = 7\nExpression now: 5 + 7\n", "Step 4: 5 + 7 = 12"),
        ("Evaluation ERROR", "</think>\nFinal Result: ERROR"),
        ("\nStep 1: 10 - 3 = 7\nExpression now: 5Evaluation ERROR</th", "ink>\nFinal Result: ERROR"),
    ],
)
def test_a_fault_is_not_mended(begun, rest):
    prompt = notation.ask("5 + (10 - 3)") + "<think>"
    assert notation.resumed(prompt + begun).startswith(prompt + begun + rest)


@pytest.mark.parametrize("kind", ["char", "digits", "places", "bpe"])
def test_every_tokenizer_can_write_a_hint(kind):
    texts = [notation.hinted(notation.problem("5 + (10 - 3)"), answer) for answer in (13, -130)]
    places = {"places": 3} if kind == "places" else {}
    known = train("digits" if places else kind, texts * 9, vocab_size=400, **places)
    for text in texts:
        ids = known(text)["input_ids"]
        assert known.unk_token_id not in ids
        assert known.decode(ids, skip_special_tokens=True) == text
        assert notation.posed(text) == "5 + (10 - 3)"


def test_read_steps_stops_at_the_first_line_out_of_form():
    text = notation.completion(task.work("1 + 2 + 3 + 4"))
    assert len(notation.read_steps(text)) == 3
    assert len(notation.read_steps(text.replace("Step 2", "Step 3"))) == 1
    assert len(notation.read_steps(text.replace("3 + 3 = 6", "3 + 3 = six"))) == 1
    assert notation.read_steps(text.removeprefix("<think>")) == []
    assert notation.read_steps("<think>Evaluation ERROR</think>\nFinal Result: ERROR") == []


@pytest.mark.parametrize("behind", ["", "\n</think>", "\n</think>\nFinal Result: ", "\n</think>\nFinal Result:-12 "])
def test_a_working_may_end_anywhere_in_its_form(behind):
    reading = notation.read_working("<think>\nStep 7: 1 + 2 = 3\nExpression now: 3" + behind)
    assert (reading.steps, reading.numbers, reading.rest) == ([Step(1, "+", 2, 3, "3")], (7,), "")


@pytest.mark.parametrize(
    "behind",
    ["\n</thnk>", "\n\n</think>", "\n</think>\nFinal: 3", "\n</think>\nFinal Result: 3 apples", "\nStep 2: 3", "\n"],
)
def test_what_is_not_in_the_form_is_left_over(behind):
    reading = notation.read_working("<think>\nStep 1: 1 + 2 = 3\nExpression now: 3" + behind)
    assert (len(reading.steps), reading.rest) == (1, behind)


def test_the_error_form_stands_alone():
    assert notation.read_working("<think>Evaluation ERROR</think>\nFinal Result: ERROR").rest == ""
    assert notation.read_working("<think>Evaluation ERROR</think>\nFinal Result: 3").rest != ""
    assert notation.read_working("<think>Evaluation ERRO</think>\nFinal Result: ERROR").rest != ""
    assert notation.read_working("no thought").rest == "no thought"


@given(seeds, st.data())
def test_a_digit_or_sign_changed_in_a_working_is_judged_wrong(rng, data):
    expression = task.pose(rng, max_depth=3)
    text = notation.completion(task.work(expression))
    place = data.draw(st.sampled_from([index for index, character in enumerate(text) if character in "0123456789+-"]))
    changed = text[:place] + data.draw(st.sampled_from("0123456789+-")) + text[place + 1 :]
    fault = task.judge(expression, notation.read_working(changed), notation.read_answer(changed))
    assert (fault is None) == (changed == text)


# Segments and drills


def test_segments_are_cut_from_a_trace():
    problem, working = "Evaluate: 5 + (10 - 3)", task.work("5 + (10 - 3)")
    trace = notation.prompt(problem) + notation.completion(working)
    assert "".join(notation.segment(problem, working, 0, 2, first=40)) == trace
    assert notation.segment(problem, working, 0, 1, first=40) == (
        f"{problem}\n",
        "<think>\nStep 1: 10 - 3 = 7\nExpression now: 5 + 7\nStep 2: ",
    )
    assert "".join(notation.segment(problem, working, 1, 1, first=2)) == trace[trace.index("\nExpression now") :]
    assert notation.segment(problem, working, 1, 1, first=40)[0] == "\nExpression now: 5 + 7\nStep 40: "


def test_all_problems_are_found_again():
    drill = "".join(notation.drill(7, Step(12, "-", -7, 19, "")))
    assert drill == "\nStep 7: 12 - -7 = 19\nExpression now: "
    assert notation.posed(drill) == "12 - -7"
    assert notation.posed("Evaluate: 5 + 3\n<think>\nStep 1: 5 + 3 = 8") == "5 + 3"
    assert notation.posed("\nExpression now: 5 + 3\nStep 9: 5 + 3 = 8") == "5 + 3"


def test_a_result_left_out_is_resumed_too():
    begun = "Evaluate: 1 + 2\n<think>\nStep 1: 1 + 2 = \nExpression now: "
    assert notation.resumed(begun).startswith(begun)
