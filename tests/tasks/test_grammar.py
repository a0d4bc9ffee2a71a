"""The text of an expression and its tree."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arith_hf.tasks import expression as task
from arith_hf.tasks.grammar import MAX_DIGITS, UnknownCharacter, bracketed, lexemes, parse, tidy

numbers = st.integers(-999, 999)
trees = st.recursive(numbers, lambda inner: st.tuples(inner, st.sampled_from("+-"), inner), max_leaves=12)
texts = st.text("0123456789+-() ", max_size=24)


@pytest.mark.parametrize(
    ("typed", "tidied", "answer"),
    [
        ("12+7", "12 + 7", 19),
        (" 2 + 3-4 ", "2 + 3 - 4", 1),
        ("((4))", "((4))", 4),
        ("(5 + 3)", "(5 + 3)", 8),
        ("-5 + 3", "-5 + 3", -2),
        ("- 5+3", "-5 + 3", -2),
        ("4-(-7)", "4 - (-7)", 11),
        ("4 - ( - 7)", "4 - (-7)", 11),
        ("4 - -7", "4 - -7", 11),
        ("4--7", "4 - -7", 11),
        ("5 --3", "5 - -3", 8),
        ("5 -3", "5 - 3", 2),
        ("5+-3", "5 + -3", 2),
        ("(1)-3", "(1) - 3", -2),
        ("007 - 02", "7 - 2", 5),
        ("-0", "0", 0),
        ("2\t+\n3", "2 + 3", 5),
        ("10 - 3 - 4", "10 - 3 - 4", 3),
        ("10 - (3 - 4)", "10 - (3 - 4)", 11),
    ],
)
def test_what_people_type(typed, tidied, answer):
    assert tidy(typed) == tidied
    assert task.kind(typed) == "valid"
    assert task.work(typed).answer == answer


@pytest.mark.parametrize(
    ("typed", "tidied"),
    [
        ("", ""),
        ("  ", ""),
        ("()", "()"),
        ("5 -- 3", "5 -- 3"),
        ("5 - - 3", "5 - - 3"),
        ("5---3", "5 -- -3"),
        ("--5", "- -5"),
        ("+5", "+ 5"),
        ("5 ++ 3", "5 ++ 3"),
        ("5 + +3", "5 + + 3"),
        ("-(3+4)", "- (3 + 4)"),
        ("1 2", "1 2"),
        ("(3)(4)", "(3) (4)"),
        ("5(3)", "5 (3)"),
        ("(5 +)", "(5 +)"),
        ("5 + (3", "5 + (3"),
        ("5 + 3)", "5 + 3)"),
        (")5(", ") 5 ("),
        ("-", "-"),
    ],
)
def test_malformed_stays_malformed(typed, tidied):
    assert tidy(typed) == tidied
    assert task.kind(typed) == task.kind(tidied) == "invalid"
    assert (task.work(typed).steps, task.work(typed).answer, task.level(typed)) == ((), "ERROR", 0)


@pytest.mark.parametrize(
    ("typed", "character", "column"),
    [("5 * 3", "*", 3), ("x", "x", 1), ("5 − 3", "−", 3), ("1 + ٣", "٣", 5), ("3.5", ".", 2)],
)
def test_unknown_characters_are_named(typed, character, column):
    for use in (tidy, task.normalise, task.kind, task.level, task.work):
        with pytest.raises(UnknownCharacter, match=f"'[{character}]' at column {column}:"):
            use(typed)


@given(trees)
def test_a_tree_survives_its_text(tree):
    assert parse(bracketed(tree)) == tree


@given(texts)
def test_tidy_is_idempotent_and_keeps_the_structure(text):
    tidied = tidy(text)
    assert tidy(tidied) == tidied
    assert lexemes(tidied) == lexemes(text)
    assert parse(tidied) == parse(text)
    assert task.normalise(tidied) == task.normalise(text) == task.normalise(task.normalise(text))


@given(trees, st.data())
def test_spacing_does_not_change_the_normal_form(tree, data):
    spaces = st.text(" \t\n", max_size=2)
    text = bracketed(tree)
    pieces = text.split(" ")  # an operator keeps one space behind it, or a number's sign would touch it
    spaced = "".join(data.draw(spaces) + piece + (" " if piece in "+-" else data.draw(spaces)) for piece in pieces)
    spaced = spaced.replace("(", data.draw(spaces) + "(" + data.draw(spaces)).replace(")", data.draw(spaces) + ")")
    assert task.normalise(spaced) == task.normalise(text)


@given(trees, st.integers(1, 3))
def test_spare_parentheses_do_not_change_the_normal_form(tree, count):
    text = bracketed(tree)
    assert task.normalise("(" * count + text + ")" * count) == task.normalise(text)


def test_no_nesting_is_too_deep_and_no_length_too_slow():
    many = 100_000
    started = time.thread_time()  # whatever else the machine does
    for text, level in (
        ("(" * many + "4" + ")" * many, 0),
        ("(1+" * many + "4" + ")" * many, many),
        ("1" + "+1" * many, many),
    ):
        assert task.level(task.normalise(tidy(text))) == level
    for text in ("(" * many, "-" * many, "- " * many, "-" + " " * many, "1 " * many):
        assert task.kind(text) == "invalid"
    assert task.work("(" * many + "4" + ")" * many).answer == 4
    assert time.thread_time() - started < 20


def test_a_number_too_long_for_python_is_refused_in_one_line():
    assert task.work("9" * MAX_DIGITS + "+ 1").answer == 10**MAX_DIGITS
    with pytest.raises(ValueError, match=f"at most {MAX_DIGITS} digits, got {MAX_DIGITS + 1} at column 5"):
        tidy("1 + " + "9" * (MAX_DIGITS + 1))
