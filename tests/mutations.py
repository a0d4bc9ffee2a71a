"""Hostile text: what right text becomes when it is cut, doubled, or mixed with what no reader expects.

`fuzzed` is the setting of every test that reads such text: 300 inputs in the suite, 10 000 with `make fuzz`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

fuzzed = settings(
    max_examples=max(300, settings().max_examples), deadline=None, suppress_health_check=list(HealthCheck)
)

ODD = (
    *(
        "٣",
        "３",
        "²",
        "Ⅷ",
        "−",
        "－",
        "＋",
        "（",
        "x",
        "*",
        ".",
        "e9",
        "_",
        "0",
        "-0",
        "007",
        "+",
        "-",
        "--",
        "- ",
        " ",
    ),
    *("\0", "\ufeff", "\r", "\r\n", "\n", "\n\n", "\t", "\v", "\x1f", "\x7f", "\x85", "\u00a0", "\u2028", "\u3000"),
    *("\ud800", "\udcff", "\udbff\udfff", "\u202e", "\\ud800", "\\u0000", "\\UFFFFFFFF", "\\", '"', "'", "😀"),
    *("9" * 400, "9" * 1000, "9" * 5000, "0" * 5000, "-" * 3000, " " * 5000, "\n" * 3000, "1+" * 3000, "1 + " * 500),
    *("(" * 3000, ")" * 3000, "[" * 3000, '{"a":' * 300, "(1 + " * 60),
    *("(", ")", "()", "[", "]", "{", "}", ":", ": ", ",", "=", "#", "&a ", "*a", "<<", "|", ">", "%", "@", "!!int "),
    *("!!python/object:os.system ", "NaN", "-Infinity", "1e999", "null", "true", "no", "010", "0x10", "1:30", "1_000"),
    *("2020-13-45", ".inf", ".nan", "~", "--max_steps=9", "<noop>", "<eos>", "Evaluate: ", "evaluate:", "Step 01: "),
    *("<think>", "</think>", "\n</think>\n", "Final Result: ", "\nFinal Result: ERROR", "ERROR", "Evaluation ERROR"),
    *("\nStep 1: ", "\nExpression now: ", "1 + 2 = 3", "8+9=17 ", "4+4+0=8 "),
)
"""What is put into a text: digits, signs and spaces of other scripts, control characters, halves of surrogate pairs,
long runs, words that formats give a meaning, and pieces of workings where they do not belong."""

WAYS = ("insert", "replace", "delete", "double", "swap", "cut", "wrap")
LARGEST = 20_000  # characters of a spoilt text, or doubling would take the time that the reader is measured by

changes = st.lists(
    st.tuples(st.sampled_from(WAYS), st.integers(0, 1 << 20), st.integers(1, 1 << 10), st.sampled_from(ODD)), max_size=3
)


def spoilt(text: str, changes: list[tuple[str, int, int, str]]) -> str:
    """The text after each change: a way, a place, a length and what is put in."""
    for way, place, length, odd in changes:
        start = place % (len(text) + 1)
        before, behind = text[:start], text[start:]
        part, rest = behind[: length % 12 + 1], behind[length % 12 + 1 :]
        match way:
            case "insert":
                text = before + odd + behind
            case "replace":
                text = before + odd + rest
            case "delete":
                text = before + rest
            case "double":
                text = before + part * (1 + length) + rest
            case "swap":
                text = before + rest[:1] + part + rest[1:]
            case "cut":
                text = before if length % 2 else behind
            case "wrap":
                text = odd + text + odd
    return text[:LARGEST]


def hostile(right: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Right texts, spoilt ones, and any text at all."""
    return st.builds(spoilt, right, changes) | st.text(max_size=60) | st.sampled_from(ODD)


@contextmanager
def within(seconds: float = 1.0) -> Iterator[None]:
    """AssertionError where the processor needs longer, whatever else the machine does."""
    start = time.thread_time()
    yield
    assert time.thread_time() - start < seconds, f"{time.thread_time() - start:.1f} s"


def tried(read: Callable[..., Any], *given: Any) -> tuple[Any, str | None]:
    """What a reader returns, and None; or None, and what its ValueError says. Any other error is a failure."""
    with within(1):
        try:
            return read(*given), None
        except ValueError as error:
            return None, str(error)
