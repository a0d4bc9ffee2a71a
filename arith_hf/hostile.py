"""Completions of a posed problem that are right, debatable and hostile: what a reward function is audited with.

May not know any reward. What is right is known because the problem is posed here, not from reading a completion (but
for the debatable classes, by convention). A hostile one is worth nothing: its answer is another, or is not in the form.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from arith_hf import notation, tasks
from arith_hf.notation import END_THINK, THINK
from arith_hf.tasks.base import ERROR, Working

MALFORMED = 5  # every so many-th problem, where the form can write ERROR
LONGEST = 120  # characters of a problem: the working of a longer one only makes the audit slow
GIANT, GIANTS = 10**6, 2  # characters or tags of a giant completion; how many problems get one
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
SHIFTED = str.maketrans("0123456789", "1234567890")
EMPTY, LEAKED = "empty", "answer only in the prompt"  # the one may be "", the other's prompt holds the right completion


@dataclass(frozen=True)
class Posed:
    """A problem and its right completion, cut up: right = head + written, and written = sign + digits of a number.

    mark: what makes what follows it an answer. tail: what stands between `</think>` and the answer.
    """

    columns: dict[str, Any]
    form: notation.Form
    working: Working
    right: str
    head: str
    tail: str
    mark: str

    @property
    def written(self) -> str:
        return self.right.removeprefix(self.head)

    @property
    def sign(self) -> str:
        return "-" if self.written.startswith("-") else ""

    @property
    def digits(self) -> str:
        """Empty where the answer is ERROR."""
        return "" if self.written == ERROR else self.written.removeprefix("-")

    @property
    def value(self) -> int:
        """0 where the answer is ERROR."""
        return int(self.working.answer) if self.digits else 0

    @property
    def wrong(self) -> str:
        return self.say(self.value + 1)

    def say(self, value: int) -> str:
        """Another answer as the form writes it."""
        return ending(self.form.completion(Working(self.working.steps, value)))


def ending(completion: str) -> str:
    """The answer at the end of a right completion."""
    return re.findall(rf"(?:-?[0-9]+|{ERROR})\Z", completion)[0]


def pose(name: str, seed: int, index: int) -> Posed:
    """The problem of a place in the audit: half as a corpus draws them, half of the task's harder sets."""
    task, form = tasks.get(name), notation.of(name)
    rng = random.Random(f"audit/{name}/{seed}/{index}")
    harder = [knobs for _, knobs in task.HARDER.values()]
    malformed = ERROR in form.KEYWORDS and index % MALFORMED == MALFORMED - 1
    problem = ""
    while not 0 < len(problem) <= LONGEST:
        problem = task.pose(rng, **({"invalid": True} if malformed else rng.choice([{}, rng.choice(harder)])))
    working = task.work(problem)
    columns = {  # those of a corpus's prompts
        "prompt": form.prompt(form.problem(problem)),
        "answer": str(working.answer),
        "task": name,
        "level": task.level(problem),
        "steps": len(working.steps),
        "kind": task.kind(problem),
    }
    right = form.completion(working)
    head = right.removesuffix(ending(right))
    _, closed, tail = head.rpartition(END_THINK)
    return Posed(columns, form, working, right, head, tail, mark=tail or closed or "=")


# The classes: name -> the completion of a problem; "" or None where it has none of the kind

Make = Callable[[Posed], str | None]
SOUND: dict[str, Make] = {
    "right working and answer": lambda p: p.right if p.digits else None,
    "ERROR for a malformed problem": lambda p: None if p.digits else p.right,
}
CONVENTION: dict[str, Make] = {
    "no working": lambda p: p.head and THINK + END_THINK + p.tail + p.written,
    "wrong working, right answer": lambda p: p.head and p.head.translate(SHIFTED) + p.written,
    "wrong answer, then right": lambda p: p.head + p.wrong + p.mark + p.written,
    "leading zeros (007)": lambda p: p.digits and p.head + padded(p),
    "-0": lambda p: f"{p.head}-0" if p.digits and p.value == 0 else None,
    "spaces around": lambda p: f"{p.head} {p.written} \n",
    "no-break spaces around": lambda p: f"{p.head}\u00a0{p.written}\u00a0",
    "end token written out": lambda p: p.right + p.form.EOS,
    "opening tag missing": lambda p: p.head and p.right.replace(THINK, "", 1),
    "completion twice": lambda p: p.right + p.right,
    "problem = answer": lambda p: f"{p.head}{p.columns['prompt'].strip().rstrip('=')}={p.written}",
    "tags in tags, right behind": lambda p: THINK * 2 + END_THINK * 2 + p.tail + p.written,
    "giant: prattle, then right": lambda p: "x" * GIANT + p.right,
    "giant: nested tags, then right": lambda p: THINK * GIANT + END_THINK * GIANT + p.tail + p.written,
}
HOSTILE: dict[str, Make] = {
    EMPTY: lambda p: "",
    "only white space": lambda p: " \n\t",
    "only NUL bytes": lambda p: "\0" * 8,
    "answer only in the working": lambda p: p.head + "I do not know",
    LEAKED: lambda p: THINK + END_THINK + p.tail,
    "only inside <think>": lambda p: THINK + p.tail + p.written + END_THINK,
    "inside <think>, wrong behind": lambda p: THINK + p.tail + p.written + END_THINK + p.tail + p.wrong,
    "tags in tags, right inside": lambda p: THINK * 2 + END_THINK + p.tail + p.written + END_THINK,
    "closing tag missing": lambda p: p.head and p.right.replace(END_THINK, ""),
    "no tags": lambda p: p.head and p.tail + p.written,
    "cut in half": lambda p: p.head and p.right[: len(p.right) // 2],
    "off by one": lambda p: p.digits and p.head + p.wrong,
    "number for a malformed problem": lambda p: None if p.digits else THINK + END_THINK + p.tail + p.wrong,
    "0 for a malformed problem": lambda p: None if p.digits else THINK + END_THINK + p.tail + "0",
    "error in small letters": lambda p: None if p.digits else p.head + ERROR.lower(),
    "another word (UNKNOWN)": lambda p: p.head + "UNKNOWN",
    "NaN": lambda p: p.head + "NaN",
    "boxed, no answer line": lambda p: p.tail and f"{p.head.removesuffix(p.tail)}\n\\boxed{{{p.written}}}",
    "ERROR for a valid problem": lambda p: p.digits and p.head + ERROR,
    "opposite sign": lambda p: p.head + ("" if p.sign else "-") + p.digits if p.value else None,
    "digit before (112)": lambda p: p.digits and f"{p.head}{p.sign}1{p.digits}",
    "digit behind (123)": lambda p: p.digits and f"{p.head}{p.written}3",
    "last digit lost": lambda p: p.head + p.say(-(-p.value // 10) if p.sign else p.value // 10) if p.value else None,
    "digits backwards": lambda p: p.head + p.sign + p.digits[::-1] if p.digits != p.digits[::-1] else None,
    "right answer, then wrong": lambda p: p.head + p.written + p.mark + p.wrong,
    "hundred answers, the last wrong": lambda p: (
        p.digits and p.head + p.mark.join(p.say(p.value + more) for more in range(100))
    ),
    "right or wrong": lambda p: f"{p.head}{p.written} or {p.wrong}",
    "words before (about 12)": lambda p: f"{p.head}about {p.written}",
    "words behind (12 apples)": lambda p: f"{p.head}{p.written} apples",
    "junk behind (12; DROP)": lambda p: f"{p.head}{p.written}; DROP TABLE answers",
    "full stop behind": lambda p: f"{p.head}{p.written}.",
    "wrong on the next line": lambda p: f"{p.head}{p.written}\n{p.wrong}",
    "markdown (**12**)": lambda p: f"{p.head}**{p.written}**",
    "NUL behind": lambda p: f"{p.head}{p.written}\0",
    "NUL inside": lambda p: inside(p, "\0"),
    "zero-width space inside": lambda p: inside(p, "\u200b"),
    "right-to-left mark inside": lambda p: inside(p, "\u200f"),
    "right-to-left override before": lambda p: f"{p.head}\u202e{p.written}",
    "Arabic-Indic digits": lambda p: other_digits(p, "٠١٢٣٤٥٦٧٨٩"),
    "fullwidth digits": lambda p: other_digits(p, "０１２３４５６７８９"),
    "superscript digits": lambda p: other_digits(p, "⁰¹²³⁴⁵⁶⁷⁸⁹"),
    "minus U+2212": lambda p: p.sign and f"{p.head}\u2212{p.digits}",
    "plus sign (+12)": lambda p: f"{p.head}+{p.digits}" if p.digits and not p.sign else None,
    "1,000": lambda p: grouped(p, ","),
    "1_000": lambda p: grouped(p, "_"),
    "spaces in the number (1 2)": lambda p: f"{p.head}{p.sign}{' '.join(p.digits)}" if len(p.digits) > 1 else None,
    "12.0": lambda p: p.digits and f"{p.head}{p.written}.0",
    "1.2e1": lambda p: p.digits and f"{p.head}{p.sign}{p.digits[0]}.{p.digits[1:] or 0}e{len(p.digits) - 1}",
    "hexadecimal (0xc)": lambda p: p.digits and p.head + hex(p.value),
    "words (twelve)": lambda p: p.digits and p.head + spelled(p.value),
    "not worked out (11+1)": lambda p: p.digits and f"{p.head}{p.value - 1}+1",
    "giant: digits before": lambda p: p.digits and p.head + "1" * GIANT + p.digits,
    "giant: spaces, then junk": lambda p: p.head + p.written + " " * GIANT + "x",
    "giant: prattle, no answer": lambda p: "x" * GIANT,
    "giant: right answers, then wrong": lambda p: (
        p.head + (p.written + p.mark) * (GIANT // len(p.written + p.mark)) + p.wrong
    ),
    "giant: open tags": lambda p: THINK * GIANT + p.tail + p.written,
}
GROUPS = {"sound": SOUND, "hostile": HOSTILE, "by convention": CONVENTION}


def padded(posed: Posed) -> str:
    """The answer with zeros before its highest digit, which a form may write last (`turned`)."""
    turned = getattr(posed.form, "turned", str)
    return posed.sign + turned("00" + turned(posed.digits))


def inside(posed: Posed, what: str) -> str:
    """Something invisible before the last character of the answer."""
    return posed.head + posed.written[:-1] + what + posed.written[-1]


def other_digits(posed: Posed, digits: str) -> str:
    return posed.digits and posed.head + posed.written.translate(str.maketrans("0123456789", digits))


def grouped(posed: Posed, mark: str) -> str | None:
    """The answer with a mark at every thousand; None below 1000."""
    marked = re.sub("(?<=[0-9])(?=(?:[0-9]{3})+$)", mark, posed.digits)
    return posed.head + posed.sign + marked if mark in marked else None


def spelled(value: int) -> str:
    """The number in words, from thirteen on digit by digit."""
    words = [WORDS[abs(value)]] if abs(value) < len(WORDS) else [WORDS[int(digit)] for digit in str(abs(value))]
    return " ".join(["minus"] * (value < 0) + words)


Case = tuple[dict[str, Any], str, float]  # columns, completion, what it is worth


def cases(group: str, name: str, problems: list[Posed]) -> list[Case]:
    """The completions of a class, few of a giant one; by convention they are worth what `read_answer` says."""
    found: list[Case] = []
    for posed in problems:
        text = GROUPS[group][name](posed) or ""
        if text or name == EMPTY:
            columns = posed.columns | ({"prompt": posed.columns["prompt"] + posed.right} if name == LEAKED else {})
            right = group == "sound" or (group != "hostile" and posed.form.read_answer(text) == posed.working.answer)
            found.append((columns, text, float(right)))
        if name.startswith("giant") and len(found) == GIANTS:
            break
    return found
