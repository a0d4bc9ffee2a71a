"""The verb `solve`: a conversation with a checkpoint, the expressions given to it, or a file of them.

May not know how an answer is generated (solver.py) or written (notation/). A model of natural text goes on with what it
is given, or answers it (language/talk.py).

    arith-hf solve --checkpoint DIR
    arith-hf solve --checkpoint DIR "5 + (10 - 3)"
    arith-hf solve --checkpoint DIR --input problems.jsonl --output answers.jsonl
    arith-hf solve --checkpoint checkpoints/text-small/sft --temperature 0.8 "What does ls do?"
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from io import TextIOWrapper
from itertools import count
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers.utils.logging import disable_progress_bar

from arith_hf import checkpoint, files, notation
from arith_hf.checkpoint import Arguments
from arith_hf.language.talk import LENGTH, Talk
from arith_hf.notation import Form
from arith_hf.solver import MOST, Solver, to_seed

GIVEN = "given_"  # put before a field of the input whose name the output needs
CHUNK = 1 << 24  # bytes of the lines that are read before any is solved; rows may have long fields of their own
OURS = ("completion", "answer", "fault", "error")


def main(argv: list[str]) -> int:
    """`arith-hf solve`: a conversation, the expressions given, or a file."""
    given = parse(argv)
    disable_progress_bar()  # of the loading, which takes no time
    options = {"max_new_tokens": given.max_new_tokens, "temperature": given.temperature, "seed": given.seed}
    if is_text(given.checkpoint):
        talk(given, options)
        return 0
    solver = Solver.from_pretrained(given.checkpoint)
    if given.input:
        solve_file(solver, Path(given.input), Path(given.output), batch_size=given.batch_size, **options)
    elif given.expressions:
        for row in solver.solve(given.expressions, batch_size=given.batch_size, **options):
            print(f"Expression: {row['problem']}")
            show(solver, row, given.top_tokens)
    else:
        turns = count()

        def answer(typed: str) -> None:
            (row,) = solver.solve(typed, **options | {"seed": to_seed("talk", given.seed, next(turns))})
            show(solver, row, given.top_tokens)

        converse(answer, f"a problem such as {solver.form.EXAMPLE}", "Enter expression: ")
    return 0


def is_text(path: str) -> bool:
    return checkpoint.form_of(path) is notation.of("text")


def talk(given: Any, options: dict[str, Any]) -> None:
    """What a model of natural text makes of each text that is given, or of those that are typed, one after another."""
    model = Talk.from_pretrained(given.checkpoint)

    def answer(typed: str) -> None:
        model.reply(typed, **options)
        print()

    for text in given.expressions:
        print(f"> {text}")
        model.said.clear()
        answer(text)
    if not given.expressions:
        converse(answer, model.wanted, "> ")


def parse(argv: list[str]) -> Any:
    """The arguments, checked before any model is loaded."""
    what = "Answer arithmetic expressions with a checkpoint; one of natural text goes on with texts, or answers them."
    parser = Arguments("arith-hf solve", what)
    parser.add_argument(
        "expressions", nargs="*", help="expressions to solve, or texts to go on with; none: a conversation"
    )
    parser.add_argument("--checkpoint", required=True, help="folder of a checkpoint, adapter or merged model")
    parser.add_argument("--input", help="JSONL file whose lines have `problem`")
    parser.add_argument(
        "--output", help="JSONL file to write: the same lines with `completion`, `answer` and `fault` (null: right)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    parser.add_argument("--batch_size", type=int, default=64, help="problems solved at once (default 64)")
    parser.add_argument(
        "--max_new_tokens",
        type=int,
        help=f"cap on a completion (default: room for any right one, at most {MOST}; of natural text {LENGTH}); the "
        "oldest turns of a conversation are forgotten to leave room for it",
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default), else sampled")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling, other noise each turn (default 0)")
    parser.add_argument("--top_tokens", type=int, default=0, help="show so many likely tokens at each step (default 0)")
    given = parser.parse_intermixed_args(protect(argv))
    given.expressions = [expression.strip() for expression in given.expressions]
    form = checkpoint.form_of(checkpoint.check(Path(given.checkpoint)))
    for expression in given.expressions:
        form.ask(expression)  # what it does not know is an error now, not after loading
    if bool(given.input) != bool(given.output) or (given.input and given.expressions):
        raise ValueError("need --input and --output together and no expressions beside them, or neither")
    if given.batch_size < 1 or given.temperature < 0 or (given.max_new_tokens is not None and given.max_new_tokens < 1):
        raise ValueError("need --batch_size >= 1, --max_new_tokens >= 1 and --temperature >= 0")
    if given.top_tokens < 0 or (given.top_tokens and given.input):
        raise ValueError("need --top_tokens >= 0, and none with --input")
    if is_text(given.checkpoint) and (given.input or given.top_tokens):
        raise ValueError("need no --input and no --top_tokens with a model of natural text: give texts to go on with")
    if given.input:
        check_files(Path(given.input), Path(given.output), given.overwrite)
    return given


def protect(argv: list[str]) -> list[str]:
    """A space before arguments such as `-5+3`, which argparse would take for options."""
    return [f" {one}" if one[:1] == "-" and one.lstrip("-")[:1] in set("0123456789( +") else one for one in argv]


def check_files(source: Path, target: Path, overwrite: bool) -> None:
    if not source.is_file():
        raise FileNotFoundError(f"no file at {source}: --input takes a JSONL file whose lines have `problem`")
    if target.is_dir() or (target.exists() and target.samefile(source)):
        raise ValueError(f"need another --output than {target}: it is {'a folder' if target.is_dir() else 'the input'}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists: give --overwrite to replace it, or another --output")


# A conversation


def block(row: dict[str, Any], form: Form) -> str:
    """A solved problem as it is shown to a person."""
    working = form.shown(row["completion"])
    result = row["answer"]
    if result is None and not row["finished"]:
        result = "none (cut off before the end; --max_new_tokens allows more)"
    elif result is None:
        result = "none (the model did not write a readable answer)"
    rule = "-" * 60
    lines = (working or "(nothing to do)").splitlines()
    steps = "".join(f"  {line}\n" for line in ("Reasoning Steps:", *lines)).removeprefix("  ")
    none = form.read_steps("") is None and not working  # the form has no steps, and nothing else is to be shown
    return f"{rule}\nSOLUTION:\n{rule}\n\n{'' if none else steps + chr(10)}Final Result: {result}\n{rule}"


def check(solver: Solver, row: dict[str, Any]) -> None:
    """Say where a working goes wrong; nothing of one that is right, or of a problem that was left open."""
    if reason := solver.fault(row):
        print(f"Checked, and not right: {reason}\n")


def show_tokens(solver: Solver, row: dict[str, Any], count: int) -> None:
    """What the model gave a chance at each token of a completion: a line a token, the likeliest first."""
    for written, choices in solver.next_tokens(row["problem"], row["token_ids"], count) if count else ():
        print(f"  {written!r:<24}" + "  ".join(f"{text!r} {share:.1%}" for text, share in choices))


def show(solver: Solver, row: dict[str, Any], top_tokens: int) -> None:
    """A solved problem, what is wrong with it, and what else the model thought of."""
    print(f"\n{block(row, solver.form)}\n")
    check(solver, row)
    show_tokens(solver, row, top_tokens)


def converse(answer: Callable[[str], None], wanted: str, label: str) -> None:
    """Ask, answer, repeat, until `exit`, `quit`, `q`, Ctrl+C or the end of the input."""
    if sys.stdin.isatty():
        print(f"Type {wanted}; q to leave.", file=sys.stderr)
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # bytes that are no text are a mistake in a line, not the end
    try:
        while (typed := input(label).strip()).lower() not in ("exit", "quit", "q"):
            try:
                answer(typed)
            except ValueError as error:
                print(f"{error}\n")
    except (KeyboardInterrupt, EOFError):
        print()


# A file


def solve_file(solver: Solver, source: Path, target: Path, *, batch_size: int, **options: Any) -> None:
    """Answer `source` line by line into `target`, in order; blank lines are skipped, broken ones get an `error`.

    Reads and solves a few batches at a time, so a large file does not sit in memory. A field of the input that is
    called as one that the output adds is kept with `given_` before its name.
    """
    start, counts = time.monotonic(), {"right": 0, "not right": 0, "broken": 0}
    total = sum(1 for _ in files.numbered(source))
    with tqdm(total=total, desc="solving", unit="problem") as bar:

        def answers() -> Iterator[dict[str, Any]]:
            for chunk in chunks(files.numbered(source), 16 * batch_size):
                for row in solve_lines(solver, chunk, bar, batch_size=batch_size, **options):
                    counts["broken" if "error" in row else "not right" if row["fault"] else "right"] += 1
                    yield row

        files.write_jsonl(target, answers())
    seconds = time.monotonic() - start
    told = ", ".join(f"{number} {what}" for what, number in counts.items())
    print(f"{target}: {told} lines, {seconds:.1f} s")


def chunks(lines: Iterable[tuple[int, bytes]], count: int) -> Iterator[list[tuple[int, bytes]]]:
    """The lines in lists of at most so many, and of little more than CHUNK bytes."""
    chunk: list[tuple[int, bytes]] = []
    size = 0
    for one in lines:
        chunk.append(one)
        size += len(one[1])
        if len(chunk) == count or size > CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def solve_lines(
    solver: Solver, lines: list[tuple[int, bytes]], bar: tqdm, *, seed: int, **options: Any
) -> list[dict[str, Any]]:
    """The output rows of some lines: one batched call for those that can be asked, an `error` for the others."""
    rows = [parse_line(solver, number, line) for number, line in lines]
    asked = [row for row in rows if "error" not in row]
    # Each chunk draws from a seed of its own, or all of them would be sampled with the same noise.
    own = to_seed("solve", seed, lines[0][0])
    solved = solver.solve([row["problem"] for row in asked], seed=own, progress=bar, **options)
    for row, done in zip(asked, solved, strict=True):
        row.update(completion=done["completion"], answer=done["answer"], fault=solver.fault(done))
    for row in rows:
        if "error" in row:
            bar.update(1)
            tqdm.write(row["error"], file=sys.stderr)
    return rows


def parse_line(solver: Solver, number: int, line: bytes) -> dict[str, Any]:
    """The output row of a line before it is solved; a line that cannot be asked has `error` and a null answer."""
    row: dict[str, Any] = {}
    try:
        found = files.parse_row(line, f"line {number}")
        row = {GIVEN + key if key in OURS else key: value for key, value in found.items()}
        if not isinstance(row.get("problem"), str):
            raise ValueError(f"line {number}: need `problem`, a string" + (", got none" * ("problem" not in row)))
        solver.prompt(row["problem"])
    except ValueError as error:
        text = str(error).removeprefix(f"line {number}: ")
        return {**row, "completion": None, "answer": None, "fault": None, "error": f"line {number}: {text}"}
    return row
