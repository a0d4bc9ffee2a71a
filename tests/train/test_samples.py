"""What is printed of a sample while a model trains: a line that says what was asked."""

import doctest

from arith_hf import chat
from arith_hf.train import samples


def test_examples():
    assert doctest.testmod(samples).failed == 0


def test_of_a_question_with_an_input_both_are_shown():
    asked = chat.whole({"role": "user", "content": "Which is larger?", "input": "4\n7"})
    assert samples.sample(asked, "7") == "  Which is larger? / 4 / 7 | 7"
    assert len(samples.sample("word " * 200, "word " * 200)) < 3 * samples.SHOWN
