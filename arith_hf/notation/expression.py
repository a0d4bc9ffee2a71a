"""The written form of expressions: how a problem, a working and an answer are written, and how they are read back.

May not know how a problem is solved, nor any framework. What generic code asks of it is listed in `base`.
"""

import re
from itertools import count, takewhile

from arith_hf.notation.base import END_THINK, THINK, spliced
from arith_hf.tasks import expression as task
from arith_hf.tasks.base import ERROR, Answer, Reading, Step, Working

EOS = "<eos>"
ALPHABET = "0123456789+-() \n"  # what an expression, and the end of a prompt, are written in
EXAMPLE = "5 + (10 - 3)"
WHAT = "solves arithmetic expressions step by step"
HEAD, NOW, RESULT = "Evaluate: ", "Expression now: ", "Final Result: "
FAILED = "Evaluation ERROR"

COUNTED = 63  # numbers whose step label is one token: a full tree of depth 6 takes as many; larger ones go by the digit

KEYWORDS: tuple[str, ...] = (
    HEAD,
    f"\n{END_THINK}",
    *(f"\nStep {number}: " for number in range(1, COUNTED + 1)),
    "\nStep ",
    f"\n{NOW}",
    f"\n{RESULT}",
    THINK,
    END_THINK,
    FAILED,
    ERROR,
    ": ",
    *(f"{before} {sign} {behind}" for before, behind in ((")", "("), (")", ""), ("", "("), ("", "")) for sign in "+-"),
    " = ",
)
"""Pieces that the digits tokenizer keeps whole, each before any that it contains; all else goes by the character.

A line break goes with what follows it, except before `<think>`: there the prompt ends. The binary minus is ` - `, so
the sign `-` is another token. An operator takes the parentheses beside it along: a working is 12 % shorter.
"""

WRITTEN = "(0|-?[1-9][0-9]{0,1999})"  # an integer as a step writes it, without zeros in front
STEP = re.compile(rf"\nStep (0|[1-9][0-9]{{0,8}}): {WRITTEN} ([+-]) {WRITTEN} = {WRITTEN}\n{NOW}([^\n]*)")
FACT = re.compile(r": (-?[0-9]+ [+-] -?[0-9]+) = (?=-?[0-9])")
DECISIVE = re.compile(rf"\nStep [0-9]+: |(?<=[0-9]: )-?[0-9]+ [+-] -?[0-9]+ = |(?<= = )-?[0-9]+\n{NOW}|\n{END_THINK}")
"""What is not copied from the same place of the line before: step numbers, operations (their place has to be found),
results, up to the end of the words behind them (which tell where the number ends), the end of a working.

>>> DECISIVE.findall("<think>\nStep 1: 7 - 4 = 3\nExpression now: 3")
['\nStep 1: ', '7 - 4 = ', '3\nExpression now: ']
"""
VERDICT = re.compile(rf"(?<={THINK})(?:\nStep [0-9]+: |\n{END_THINK}|{FAILED})")
"""What says whether a problem is malformed: the words behind `<think>`, of which the first token decides."""
INTEGER = re.compile(r"-?[0-9]{1,2000}")  # Python reads no integer past 4300 digits
# The spaces behind an answer go with it: two runs of them side by side would take squared time.
LAST = rf"\n{RESULT.rstrip()}\s*"
CLOSING = re.compile(rf"(?:\n{END_THINK}(?:\n?|{LAST}(?:(?:{INTEGER.pattern}|{ERROR})\s*)?)?)?")  # any part, none too
FAILING = re.compile(rf"{FAILED}(?:{END_THINK}(?:{LAST}(?:{ERROR}\s*)?)?)?")
LINE_ENDS = (HEAD, NOW)
"""An expression follows; `line_stride` places these tokens.

Not those of steps: where they begin at multiples too, step numbers are lost. Nor the end of a problem's line: the
problem and the first line would stand further apart than other lines (LOG.md).
"""
STEP_ROOM = 64  # tokens: more than the fixed words and three numbers of one step take, even character by character
FARTHEST = 20_000  # characters of a line to go on from, five times what a person may ask: tens of milliseconds
LEAST_ROOM = 256  # tokens that any prompt may be answered with


# Writing


def problem(expression: str) -> str:
    """`Evaluate: ` and the tidy expression; raises UnknownCharacter."""
    return HEAD + task.tidy(expression)


def posed(text: str) -> str:
    """The problem that a trace, segment or drill poses: its own, the one it goes on from, or its fact.

    >>> posed("Evaluate: 5 + 3\\n<think>"), posed("\\nExpression now: 7 - 4\\nStep 2: 7 - 4 = 3")
    ('5 + 3', '7 - 4')
    """
    head = text.lstrip("\n").partition("\n")[0]
    for mark in (HEAD, NOW):
        if head.startswith(mark):
            return head.removeprefix(mark)
    return head.partition(": ")[2].partition(" = ")[0]


def prompt(problem: str) -> str:
    return problem + "\n"


def ask(text: str) -> str:
    """The prompt of what a person typed, with or without `Evaluate:` in front; raises UnknownCharacter.

    >>> ask("evaluate:12+7")
    'Evaluate: 12 + 7\\n'
    """
    # The head becomes spaces, so that a column in an error message counts from where the person began to type.
    expression = re.sub(r"^\s*evaluate\s*:", lambda head: " " * len(head[0]), text, flags=re.IGNORECASE)
    return prompt(problem(expression))


def room(prompt: str) -> int:
    """New tokens that any right working of `prompt` fits in: a step per operator, each rewriting the line at most."""
    return max(LEAST_ROOM, sum(map(prompt.count, "+-")) * (len(prompt) + STEP_ROOM))


def step_line(number: int, step: Step) -> str:
    return f"Step {number}: {step.left} {step.operator} {step.right} = {step.result}"


def step_lines(steps: tuple[Step, ...], first: int = 1) -> str:
    """Each step and what remains after it, every line with its line break in front; steps are counted from `first`."""
    return "".join(
        f"\n{step_line(number, step)}\n{NOW}{step.expression}" for number, step in enumerate(steps, start=first)
    )


def ending(answer: Answer) -> str:
    return f"\n{END_THINK}\n{RESULT}{answer}"


def completion(working: Working) -> str:
    """The solution: steps between the tags and the final result, or the error form.

    >>> completion(Working((), 4))
    '<think>\\n</think>\\nFinal Result: 4'
    """
    if working.answer == ERROR:
        return f"{THINK}{FAILED}{END_THINK}\n{RESULT}{ERROR}"
    return THINK + step_lines(working.steps) + ending(working.answer)


def solution(prompt: str) -> str:
    """The right completion of a prompt.

    >>> solution("Evaluate: ((4))\\n")
    '<think>\\n</think>\\nFinal Result: 4'
    """
    return completion(task.work(prompt.removeprefix(HEAD).rstrip("\n")))


def begun(working: Working, count: int) -> str:
    """The completion up to its step `count`, with what remains after it.

    >>> begun(task.work("1 + 2 + 3"), 1)
    '<think>\\nStep 1: 1 + 2 = 3\\nExpression now: 3 + 3'
    """
    return THINK + step_lines(working.steps[:count])


def resumed(text: str) -> str:
    """A prompt and any beginning of its completion, with its continuation from there, right or wrong as it is.

    A line that has only begun is completed as the line due ends; a guess, where they differ. Nothing is added where the
    problem, or a line, is no expression, or one of more than FARTHEST characters or too many operators.

    >>> resumed("Evaluate: 5 + (10 - 3)\\n<think>\\nStep 1: 10 - 3 = 8").partition(THINK)[2].split("\\n")[2:4]
    ['Expression now: 5 + 8', 'Step 2: 5 + 8 = 13']
    """
    if max(map(len, text.split("\n"))) > FARTHEST:
        return text
    try:
        return continuing(text)
    except ValueError:
        return text


def continuing(text: str) -> str:
    """As `resumed`; ValueError where nothing can follow."""
    head, mark, thought = text.partition(THINK)
    first, *lines = thought.split("\n")
    if first or FAILED in thought:  # nothing but the error form stands right behind the tag
        begun = thought[max(0, thought.find(FAILED)) :]
        return text.removesuffix(begun) + spliced(begun, completion(Working((), ERROR)).removeprefix(THINK))
    if not lines:
        begun = mark or text.rpartition("\n")[2]
        return text.removesuffix(begun) + spliced(begun, completion(task.work(posed(head))))
    done = (len(lines) - 1) // 2 * 2  # lines of whole steps
    line = lines[done - 1].removeprefix(NOW) if done else posed(head)
    before, behind = head + mark + "\n".join(["", *lines[:done], ""]), lines[done:]
    now = None if behind[0].startswith(END_THINK) else task.due(line)
    if now is None:
        return before + spliced("\n".join(behind), END_THINK + remainder(line, 0).rpartition(END_THINK)[2])
    number = numbered(lines[done - 2]) + 1 if done else 1
    step, *copied = [spliced(behind[0], step_line(number, now))] if len(behind) == 1 else behind
    line = NOW + task.rewritten(line, step.rpartition(" = ")[2])
    line = spliced(copied[0], line) if copied else line
    return f"{before}{step}\n{line}{remainder(line.removeprefix(NOW), numbered(step) + 1)}"


def numbered(line: str) -> int:
    """The number that a step's line carries, right or wrong; 0 where it has none."""
    match = re.match(r"Step ([0-9]{1,9}): ", line)
    return int(match[1]) if match else 0


def remainder(line: str, first: int) -> str:
    """The steps from a line on, counted from `first`, and the ending; in a malformed line of what stands together."""
    if task.bracketed_line(line):
        working = task.work(line)
        return step_lines(working.steps, first) + ending(working.answer)
    steps: list[Step] = []
    while len(steps) < COUNTED and (now := task.due(line)):  # each takes as long as the line
        line = task.rewritten(line, now.result)
        steps.append(Step(now.left, now.operator, now.right, now.result, line))
    return step_lines(tuple(steps), first) + ending(line)


def hinted(problem: str, answer: int) -> str:
    """The prompt with a result said beforehand, as a working says it.

    >>> hinted("Evaluate: 5 + (10 - 3)", 13)
    'Evaluate: 5 + (10 - 3)\\nFinal Result: 13\\n'
    """
    return f"{prompt(problem)}{RESULT}{answer}\n"


def segment(problem: str, working: Working, start: int, count: int, first: int) -> tuple[str, str]:
    """`count` consecutive steps cut from a trace at `start`, numbered from `first`: what is given, and what follows.

    Given is the line that the steps rewrite, with its line break, so that its tokens are those of a trace, and the
    number of the first step, which nothing foretells. From the first step on a cut opens with the problem and counts
    from 1. It closes with the final result, or with the number of the next step, which tells where an expression ends.
    """
    steps = working.steps[start : start + count]
    first = first if start else 1
    last = start + count >= len(working.steps)
    lines = step_lines(steps, first) + (ending(working.answer) if last else f"\nStep {first + len(steps)}: ")
    if start == 0:
        return prompt(problem), THINK + lines
    number = f"\nStep {first}: "
    return f"\n{NOW}{working.steps[start - 1].expression}{number}", lines.removeprefix(number)


def excerpt(
    expression: str, working: Working, start: int, count: int, first: int, around: tuple[str, str]
) -> tuple[str, str]:
    """A segment whose expression stands in a longer line, in its parentheses, with the text `around` it.

    Numbered from 1, the longer line is given as a problem is.

    >>> excerpt("5 - 3", Working((Step(5, "-", 3, 2, "2"),), 2), 0, 1, 7, ("((1 + ", ") - 4"))
    ('\\nExpression now: ((1 + (5 - 3)) - 4\\nStep 7: ', '5 - 3 = 2\\nExpression now: ((1 + 2) - 4\\nStep 8: ')
    """

    def line(inner: str) -> str:
        return f"{around[0]}{f'({inner})' if ' ' in inner else inner}{around[1]}"

    steps = [
        Step(step.left, step.operator, step.right, step.result, line(step.expression))
        for step in working.steps[start : start + count]
    ]
    head = line(working.steps[start - 1].expression if start else expression)
    number = f"\nStep {first}: "
    given = f"{prompt(HEAD + head)}{THINK}" if first == 1 else f"\n{NOW}{head}"
    lines = step_lines(tuple(steps), first) + f"\nStep {first + len(steps)}: "
    return given + number, lines.removeprefix(number)


def verdict(problem: str, working: Working) -> tuple[str, str]:
    """A problem, and what shows whether it is well formed: the error form, or the first operation (if it has one).

    >>> verdict("Evaluate: 5 - 3", Working((Step(5, "-", 3, 2, "2"),), 2))
    ('Evaluate: 5 - 3\\n', '<think>\\nStep 1: 5 - 3 = ')
    """
    if not working.steps:
        return prompt(problem), completion(working)
    given, _ = drill(1, working.steps[0])
    return prompt(problem), THINK + given


def drill(number: int, step: Step) -> tuple[str, str]:
    """One fact: what is given, and its result with the words behind it, which tell where the number ends.

    >>> drill(7, Step(12, "-", -7, 19, ""))
    ('\\nStep 7: 12 - -7 = ', '19\\nExpression now: ')
    """
    given, _, result = step_line(number, step).rpartition(" ")
    return f"\n{given} ", f"{result}\n{NOW}"


# Reading


def read_answer(completion: str) -> Answer | None:
    """What stands behind the last `Final Result:` after `</think>`: a whole integer or ERROR; None for anything else.

    Only ASCII digits count. Leading zeros and `-0` are read as the integer that they write (`007` is 7).

    >>> read_answer("<think>\\n</think>\\nFinal Result: 12"), read_answer("Final Result: 12")
    (12, None)
    """
    _, closed, rest = completion.partition(END_THINK)
    _, found, answer = rest.rpartition(RESULT.rstrip())
    answer = answer.strip(" \n")
    if not closed or not found:
        return None
    if answer == ERROR:
        return ERROR
    return int(answer) if INTEGER.fullmatch(answer) else None


def read_working(completion: str, finished: bool = True) -> Reading:
    """The steps with the numbers they carry, and the text from the first line that is not in the form on."""
    before, found, thought = completion.partition(THINK)
    if before or not found:
        return Reading([], completion, finished=finished)
    steps: list[Step] = []
    numbers: list[int] = []
    place = 0
    while match := STEP.match(thought, place):
        numbers.append(int(match[1]))
        steps.append(Step(int(match[2]), match[3], int(match[4]), int(match[5]), match[6]))
        place = match.end()
    closed = CLOSING.fullmatch(thought, place) or FAILING.fullmatch(thought)
    return Reading(steps, "" if closed else thought[place:], tuple(numbers), finished)


def pieces(completion: str) -> tuple[str, list[str], str]:
    """The text cut at its steps: what stands before the first, each step in the form, what stands behind the last.

    >>> pieces("<think>\\nStep 1: 3 + 4 = 7\\nExpression now: 7\\n</think>")
    ('<think>', ['\\nStep 1: 3 + 4 = 7\\nExpression now: 7'], '\\n</think>')
    """
    before, found, thought = completion.partition(THINK)
    steps: list[str] = []
    place = 0
    while found and not before and (match := STEP.match(thought, place)):
        steps.append(match[0])
        place = match.end()
    return before + found, steps, thought[place:]


def read_steps(completion: str) -> list[Step]:
    """The steps of a working up to the first line that is not in the form or not in sequence."""
    reading = read_working(completion)
    sequence = zip(reading.steps or (), reading.numbers, count(1), strict=False)
    return [step for step, _, _ in takewhile(lambda one: one[1] == one[2], sequence)]


def facts(text: str) -> list[str]:
    """The single facts that a text works out, in order; one without its result is not worked out.

    >>> facts("\\nExpression now: 9 + (7 - 4)\\nStep 2: 7 - 4 = 3\\nExpression now: 9 + 3\\nStep 3: 9 + 3 = 12")
    ['7 - 4', '9 + 3']
    """
    return FACT.findall(text)


def continued(prompt: str, completion: str) -> str:
    """The completion: no prompt is open."""
    return completion


def shown(completion: str) -> str:
    """The working for a person, a line a step; empty if there is none."""
    return completion.partition(END_THINK)[0].strip().removeprefix(THINK).strip()
