"""The written forms of addition, byte for byte, and how they are read back."""

import random
import re

import pytest
from corruption import COLUMNS, plant_in_columns
from hypothesis import given
from hypothesis import strategies as st

from arith_hf.notation.addition import NOOP, STYLES, UNREAD, Addition
from arith_hf.tasks import addition as task
from arith_hf.tasks.addition import Column
from arith_hf.tasks.base import ERROR, Working
from arith_hf.tasks.grammar import UnknownCharacter

problems = st.lists(st.integers(0, 9999), min_size=2, max_size=5).map(task.canonical)
forms = st.builds(Addition, st.sampled_from(STYLES), st.integers(0, 6), st.integers(0, 1)) | st.builds(
    Addition, st.just("columns"), st.integers(0, 6), st.integers(0, 1), st.integers(120, 140)
)


def tokens(form, text):
    return re.findall("|".join((*form.KEYWORDS, form.EOS)) + "|.", text)


# Names


@given(forms)
def test_a_name_is_read_back(form):
    assert Addition.read(form.name) == form
    assert Addition.read(form.name).name == form.name


def test_a_name_leaves_defaults_out():
    assert Addition().name == "addition/columns"
    assert Addition("reversed", zero_pad=4).name == "addition/reversed/zero_pad=4"
    assert Addition("columns", 3, think_length=24).name == "addition/columns/zero_pad=3/think_length=24"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("addition", "unknown form 'addition': need addition/ and one of direct, columns, reversed"),
        ("addition/colums", "need addition/ and one of direct, columns, reversed"),
        ("expression/columns", "unknown form 'expression/columns'"),
        ("addition/columns/pad=3", "unknown option 'pad=3' in 'addition/columns/pad=3': need one of zero_pad=NUMBER"),
        ("addition/columns/zero_pad=x", "unknown option 'zero_pad=x'"),
        ("addition/columns/zero_pad=-1", "unknown option 'zero_pad=-1'"),
        ("addition/columns/", "unknown option ''"),
        ("addition/columns/zero_pad=0", "need 'addition/columns', got 'addition/columns/zero_pad=0': leave defaults"),
        ("addition/columns/think_length=9/zero_pad=1", "need 'addition/columns/zero_pad=1/think_length=9'"),
        ("addition/direct/think_length=9", "need style columns for think_length, got direct: leave think_length out"),
    ],
)
def test_a_name_of_no_form_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        Addition.read(name)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="need style one of direct, columns, reversed, got 'rows'"):
        Addition("rows")
    with pytest.raises(ValueError, match="need 0 <= zero_pad <= 1000, got -1"):
        Addition(zero_pad=-1)
    with pytest.raises(ValueError, match="need 0 <= think_length <= 100000, got -1"):
        Addition(think_length=-1)


# Written


@pytest.mark.parametrize(
    ("name", "problem", "prompt", "completion"),
    [
        ("addition/direct", "658+189=", "658+189=", "847"),
        ("addition/reversed", "658+189=", "856+981=", "748"),
        ("addition/columns", "658+189=", "658+189=", "<think>8+9=17 5+8+1=14 6+1+1=8</think>847"),
        ("addition/columns", "58+7=", "58+7=", "<think>8+7=15 5+0+1=6</think>65"),
        ("addition/columns", "7+51=", "7+51=", "<think>7+1=8 0+5=5</think>58"),
        ("addition/columns", "99+21=", "99+21=", "<think>9+1=10 9+2+1=12</think>120"),
        ("addition/columns", "0+0=", "0+0=", "<think>0+0=0</think>0"),
        ("addition/columns", "9+8+7=", "9+8+7=", "<think>9+8+7=24</think>24"),
        ("addition/columns", "9+8+79+5=", "9+8+79+5=", "<think>9+8+9+5=31 0+0+7+0+3=10</think>101"),
        ("addition/direct/zero_pad=3", "58+7=", "058+007=", "0065"),
        ("addition/reversed/zero_pad=3", "58+7=", "850+700=", "5600"),
        ("addition/columns/zero_pad=3", "58+7=", "058+007=", "<think>8+7=15 5+0+1=6 0+0=0</think>0065"),
        ("addition/columns/zero_pad=3", "99+21=", "099+021=", "<think>9+1=10 9+2+1=12 0+0+1=1</think>0120"),
        ("addition/columns/zero_pad=2", "0+0=", "00+00=", "<think>0+0=0 0+0=0</think>000"),
        ("addition/columns/zero_pad=1", "99+21=", "99+21=", "<think>9+1=10 9+2+1=12</think>120"),
        ("addition/columns/think_length=8", "7+5=", "7+5=", f"<think>7+5=12{NOOP}{NOOP}</think>12"),
        ("addition/columns/think_length=6", "7+5=", "7+5=", "<think>7+5=12</think>12"),
    ],
)
def test_the_solution_byte_for_byte(name, problem, prompt, completion):
    form = Addition.read(name)
    assert form.prompt(problem) == prompt
    assert form.completion(task.work(problem)) == form.solution(prompt) == completion


def test_a_carry_that_two_columns_of_padding_take():
    form = Addition(zero_pad=3)
    problem = "+".join(["9"] * 12) + "="
    zeros = "+".join("0" * 12)
    completion = form.completion(task.work(problem))
    assert completion == f"<think>{problem}108 {zeros}+10=10 {zeros}+1=1</think>0108"
    assert form.read_steps(completion) == list(task.work(problem).steps)


@given(problems, st.integers(120, 140))
def test_noops_fill_a_working_to_its_length(problem, length):
    form = Addition(think_length=length)
    completion = form.completion(task.work(problem))
    thought = completion.partition("<think>")[2].partition("</think>")[0]
    assert len(tokens(form, thought)) == length
    assert thought.rstrip("<nop>").endswith(tuple("0123456789"))  # no space, and nothing but NOOP, behind the columns
    assert completion.replace(NOOP, "") == Addition().completion(task.work(problem))


def test_what_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match="need a working of at most 5 tokens, got 6: raise think_length"):
        Addition(think_length=5).completion(task.work("7+5="))
    with pytest.raises(ValueError, match=r"need the working of a sum such as 12\+34=, got ERROR"):
        Addition().completion(Working((), ERROR))


@given(forms, problems)
def test_a_right_completion_has_room_and_known_characters(form, problem):
    prompt, completion = form.prompt(problem), form.completion(task.work(problem))
    assert 32 <= form.room(prompt) >= len(tokens(form, completion + form.EOS))
    known = {*form.KEYWORDS, *form.ALPHABET}
    assert set(tokens(form, prompt + completion)) <= known


def test_an_open_prompt_has_room_for_its_other_number():
    for form in (Addition(), Addition("direct"), Addition("reversed", zero_pad=4)):
        rest = form.prompt("7+1234567890=").partition("+")[2] + form.completion(task.work("7+1234567890="))
        assert form.room(form.ask("7+")) >= len(tokens(form, rest + form.EOS))


# Asked


@pytest.mark.parametrize("text", ["12+34=", "12+34", " 12 + 34 = ", "012+34"])
def test_ask_takes_what_a_person_types(text):
    assert Addition().ask(text) == Addition("direct").ask(text) == "12+34="
    assert Addition("reversed", zero_pad=3).ask(text) == "210+430="


def test_an_open_sum_is_left_for_the_model():
    assert Addition().ask("7 +") == "7+"
    assert Addition().ask("7+08+") == "7+8+"
    assert Addition("reversed", zero_pad=3).ask("12+3+") == "210+300+"


@pytest.mark.parametrize("text", ["", " ", "7", "7=", "+3=", "3++4=", "+", "=", "7+=", "3++", "+7+"])
def test_what_is_no_sum_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"^need a sum such as 12\+34=, got '.*': type numbers with \+ between them$"):
        Addition().ask(text)


def test_ask_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"^need nothing behind =, got '7': leave it out$"):
        Addition().ask("3+4=7")
    with pytest.raises(UnknownCharacter, match="unknown character '-' at column 3"):
        Addition().ask("3 - 4")
    with pytest.raises(UnknownCharacter, match="unknown character 'x' at column 4"):
        Addition().problem(" 3+x")
    assert Addition("reversed").problem(" 012+ 7") == "12+7="  # canonical, whatever the form


# Read back


@given(forms, problems)
def test_what_is_written_is_judged_right(form, problem):
    text = form.completion(task.work(problem))
    steps, answer = form.read_steps(text), form.read_answer(text)
    assert (steps is None) == (form.style != "columns")
    assert form.read_working(text).rest == ""
    assert task.judge(problem, form.read_working(text), answer) is None
    assert steps is None or Working(tuple(steps), answer) == task.work(problem)
    opened = form.prompt(problem).rpartition("+")
    assert form.continued(opened[0] + "+", opened[2] + text) == form.continued(form.prompt(problem), text) == text


@given(forms, problems, st.data())
def test_a_right_beginning_is_resumed_to_the_right_working(form, problem, data):
    prompt = form.prompt(problem)
    text = prompt + form.completion(task.work(problem))
    assert form.resumed(text[: data.draw(st.integers(len(prompt), len(text)))]) == text


@given(st.builds(Addition, st.just("columns"), st.integers(0, 6), st.integers(0, 1)), problems, st.data())
def test_a_planted_total_is_worked_on_with(form, problem, data):
    working, index = task.plant(problem, random.Random(data.draw(st.integers(0, 99)))) or (task.work(problem), 0)
    prompt, text, begun = form.prompt(problem), form.completion(working), form.begun(working, index + 1)
    assert text.startswith(begun)
    assert form.resumed(prompt + begun + " ") == prompt + text or index + 1 == len(working.steps)
    assert form.read_steps(begun + " ")[: index + 1] == list(working.steps[: index + 1])


@given(st.sampled_from(COLUMNS), st.integers(0, 10**9), st.data())
def test_whatever_is_written_stays_when_it_is_resumed(kind, seed, data):
    planted = plant_in_columns(kind, str(seed))
    form = Addition(think_length=data.draw(st.sampled_from([0, 400])))
    text = form.prompt(planted.problem) + planted.text
    begun = text[: data.draw(st.integers(0, len(text)))]
    assert form.resumed(begun).startswith(begun)


def test_only_columns_can_begin_and_no_sum_has_words_for_a_hint():
    working = task.work("12+34=")
    assert [Addition(style).begun(working, 1) for style in STYLES] == [None, "<think>2+4=6", None]
    assert [Addition(style).hinted("12+34=", 47) for style in STYLES] == [None] * 3


@given(forms, problems)
def test_a_prompt_poses_its_problem(form, problem):
    prompt = form.prompt(problem)
    assert form.posed(prompt) == form.posed(prompt + form.completion(task.work(problem))) == problem
    assert form.prompt(form.posed(prompt)) == form.ask(problem) == prompt


def test_a_text_that_poses_no_sum_stays_as_it_is():
    assert Addition().posed("7+") == "7+"
    assert Addition("reversed").posed("7+51=22") == "7+15="
    assert Addition().posed("<think>7") == "<think>7"


@given(forms, problems, st.data())
def test_a_digit_changed_anywhere_is_judged_wrong(form, problem, data):
    text = form.completion(task.work(problem))
    place = data.draw(st.sampled_from([index for index, character in enumerate(text) if character.isdigit()]))
    changed = text[:place] + data.draw(st.sampled_from("0123456789")) + text[place + 1 :]
    fault = task.judge(problem, form.read_working(changed), form.read_answer(changed))
    assert (fault is None) == (changed == text)


def test_every_digit_of_a_few_workings_matters():
    rng = random.Random("corruptions")
    for problem in [task.pose(rng, max_digits=4, max_operands=4, carry_rate=0.3) for _ in range(40)]:
        for form in (Addition(), Addition(zero_pad=5), Addition(zero_pad=4, think_length=90)):
            text = form.completion(task.work(problem))
            for place, digit in enumerate(text):
                for other in set("0123456789") - {digit} if digit.isdigit() else ():
                    changed = text[:place] + other + text[place + 1 :]
                    assert task.judge(problem, form.read_working(changed), form.read_answer(changed)), changed


@pytest.mark.parametrize(
    ("style", "text", "answer"),
    [
        ("columns", "<think>7+5=12</think>12", 12),
        ("columns", "<think>7+5=12</think>0012", None),
        ("columns", "<think>7+5=12</think>13</think>12", None),
        ("columns", "12", None),
        ("columns", "<think>7+5=12", None),
        ("columns", "7+5=12", None),
        ("columns", "<think>7+5=12</think>", None),
        ("columns", f"<think>7+5=12</think>{NOOP}12", None),
        ("columns", "<think>7+5=12</think>12<end>", None),
        ("columns", "<think>7+5=12</think> 12", None),
        ("columns", "<think>7+5=12</think>-12", None),
        ("columns", "<think>7+5=12</think>١٢", None),
        ("columns", "<think>7+5=12</think>" + "9" * 2001, None),
        ("direct", "12", 12),
        ("direct", "7+5=12", None),
        ("direct", "7+5=", None),
        ("direct", "7+5", None),
        ("direct", "", None),
        ("direct", "1 2", None),
        ("direct", f"12{NOOP}", None),
        ("reversed", "748", 847),
        ("reversed", "7480", None),
        ("reversed", "84²", None),
    ],
)
def test_read_answer(style, text, answer):
    assert Addition(style).read_answer(text) == answer


def test_read_steps_stops_at_the_first_column_out_of_form():
    form, right = Addition(), "<think>8+9=17 5+8+1=14 6+1+1=8</think>847"
    assert form.read_steps(right) == [Column((8, 9), 0, 17), Column((5, 8), 1, 14), Column((6, 1), 1, 8)]
    for old, new, count in (
        ("<think>", "", 0),
        ("8+9=17", "8=17", 0),
        ("8+9=17", "8+19=17", 0),
        ("8+9=17 ", "8+9=17  ", 1),
        ("=14", "=014", 1),
        ("=14", "=", 1),
        ("5+8+1", "5+8+0", 1),  # a carry of 0 is not written
        ("5+8+1", "5+8+1+1", 1),
        ("5+8+1", "5", 1),
        ("5+8+1", "5+18+1", 1),
        ("=8</think>847", "=8", 2),  # cut off: the total may go on
        ("=8</think>", "=8x</think>", 2),
    ):
        assert len(form.read_steps(right.replace(old, new))) == count, new
    assert form.read_steps(right.replace("5+8+1", "5+8+12"))[1].carry == 12


def test_padding_counts_only_where_it_is_due_and_right():
    padded = "<think>8+7=15 5+0+1=6 0+0=0</think>0065"
    form = Addition(zero_pad=3)
    assert form.read_steps(padded) == list(task.work("58+7=").steps)
    for other in (Addition(), Addition(zero_pad=2)):
        assert task.judge("58+7=", other.read_working(padded), 65).reason == "need 2 columns, got 3"
    for wrong, kind in {
        " 0+0=1": "digit",
        " 0+0+1=1": "carry",
        " 0+1=0": "operand",
        " 0+0+0=0": "wording",
        " 0+0=0 0+0=0": "surplus",
        " 0+0=": "wording",
        "": "stop",
    }.items():
        fault = task.judge("58+7=", form.read_working(padded.replace(" 0+0=0", wrong)), 65)
        assert (fault.index, fault.kind) == (2, kind), wrong
    assert task.judge("58+7=", form.read_working("<think>8+7=15 5+0+1=6 0+", finished=False), None).kind == "cut"
    five = Addition(zero_pad=5).read_working("<think>8+7=15 5+0+1=6 0+0=0 0+0=0 0+0=3</think>000065")
    assert task.judge("58+7=", five, 65).index == 4


def test_a_padded_working_that_stops_early_is_never_whole():
    form = Addition(zero_pad=3)
    assert form.read_steps("") == [UNREAD]
    fault = task.judge("58+7=", form.read_working("<think>8+7=15 5+x"), None)
    assert (fault.index, fault.reason, fault.kind) == (1, "the digits are 5, 0, not none", "wording")


@pytest.mark.parametrize(
    ("name", "text", "rest"),
    [
        ("addition/columns", "<think>7+5=12</think>12", ""),
        ("addition/columns", f"<think>7+5=12{NOOP}{NOOP}</think>", ""),
        ("addition/columns", "<think>7+5=12</think> 12", "</think> 12"),
        ("addition/columns", "<think>7+5=12 x</think>12", "x</think>12"),
        ("addition/columns", "<think>7+5=12</thin>12", "</thin>12"),
        ("addition/columns", "7+5=12", "7+5=12"),
        ("addition/direct", "7+5=12", ""),
        ("addition/direct", "7+5=1x", "1x"),
        ("addition/reversed", "", ""),
    ],
)
def test_what_is_not_in_the_form_is_left_over(name, text, rest):
    assert Addition.read(name).read_working(text).rest == rest


def test_facts_are_those_worked_out():
    text = "658+189=<think>8+9=17 5+8+1=14 6+1+1="
    assert Addition().facts(text) == ["8+9", "5+8+1"]
    assert Addition().facts("<think>0+7+0+3=10</think>10") == ["0+7+0+3"]
    assert Addition("direct").facts("7+5=12") == Addition("reversed").facts("7+5=21") == []


def test_the_decisive_parts_are_what_is_worked_out():
    text = f"58+7=<think>8+7=15 5+0+1=6{NOOP}</think>65<end>"
    assert Addition().DECISIVE.findall(text) == ["15", "6", "65"]
    assert Addition("direct").DECISIVE.findall("58+7=65<end>") == ["65"]
    assert Addition("reversed").DECISIVE.findall("85+7=56<end>") == ["56"]
    assert not Addition().VERDICT.search(text)


def test_a_working_is_shown_a_column_a_line():
    assert Addition().shown(f"<think>8+7=15 5+0+1=6{NOOP}{NOOP}</think>65") == "8+7=15\n5+0+1=6"
    assert Addition().shown("<think>8+7=15 5+") == "8+7=15\n5+"
    assert Addition("direct").shown("65") == Addition().shown("<think></think>65") == ""
    assert Addition().shown("12+9=<think>0+2=2</think>2").splitlines() == ["... 12+9=", "0+2=2"]
    assert Addition("reversed").shown("21=81") == "... 12="
    assert Addition("direct").shown("4+x") == Addition().shown("4+x") == "4+x"


def test_aligned_operands_are_as_long_as_the_longest():
    assert Addition("reversed", align=1).prompt("658+19=") == "856+910="
    assert Addition("direct", align=1).ask("7 + 123 + 45") == "007+123+045="
    assert Addition(align=1, zero_pad=4).prompt("658+19=") == "0658+0019="
    assert Addition("reversed", align=1).posed("856+910=776") == "658+19="
    with pytest.raises(ValueError, match="need align 0 or 1, got 2"):
        Addition(align=2)
