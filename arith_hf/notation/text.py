"""Natural text: nothing is posed, so nothing is worked out or judged; a conversation is written by a chat template.

May not know any tokenizer. It has the names that generic code asks of every form; what only a problem has is an error.
"""

import re
from typing import NoReturn

EOS = "<eos>"
KEYWORDS: tuple[str, ...] = ()
ALPHABET = ""
EXAMPLE = "Hello"
WHAT = "goes on with natural text"
LINE_ENDS: tuple[str, ...] = ("\n",)
DECISIVE = VERDICT = re.compile(r"(?!)")  # found nowhere: each token counts the same


def problem(text: str) -> str:
    return text


def prompt(problem: str) -> str:
    return problem


def ask(text: str) -> str:
    return text


def posed(text: str) -> str:
    return text


def shown(completion: str) -> str:
    return completion


def facts(text: str) -> list[str]:
    return []


def read_steps(completion: str) -> None:
    return None


def read_answer(completion: str) -> None:
    return None


def refuse(*_: object, **__: object) -> NoReturn:
    raise ValueError(
        "natural text has no right answer: this needs a model of problems, such as MODEL=expression; "
        "what one of text writes `arith-hf solve` and `arith-hf evaluate` show"
    )


room = completion = solution = begun = resumed = hinted = continued = read_working = pieces = refuse
