import subprocess
import sys

import pytest

from arith_hf import rewards


@pytest.mark.parametrize(
    ("completion", "answer", "paid"),
    [
        ("<think>\n</think>\nFinal Result: 12", "12", 1.0),
        ("<think>\n</think>\nFinal Result: 12", "2", 0.0),  # no substring credit
        ("<think>\n</think>\nFinal Result: 2", "12", 0.0),
        ("<think>Evaluation ERROR</think>\nFinal Result: ERROR", "ERROR", 1.0),
        ("<think>\n</think>\nFinal Result: ERROR", "12", 0.0),
        ("Final Result: 12", "12", 0.0),  # nothing before </think> is an answer
        ("<think>\nFinal Result: 12\n</think>\nFinal Result: 13", "12", 0.0),
        ("<think>\n</think>\nFinal Result: 13\nFinal Result: 12", "12", 1.0),  # the last one counts
        ("<think>\n</think>\nFinal Result: 12 or 13", "12", 0.0),
        ("<think>\n</think>\nFinal Result: -12", "12", 0.0),
        ("", "12", 0.0),
    ],
)
def test_pays_for_right_only(completion, answer, paid):
    assert rewards.exact_answer(completions=[completion], answer=[answer], prompts=["Final Result: 12"]) == [paid]


def test_imports_without_any_framework():
    """So that stock `trl grpo` finds it by dotted path at no cost."""
    code = "import arith_hf.rewards, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
