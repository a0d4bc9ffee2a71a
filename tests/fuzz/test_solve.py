"""Hostile files for the batch solver: a line is asked only where a second reading of JSON and of the problem agree."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import json_reading
import pytest
from corruption import trace
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzzed, hostile, within

from arith_hf import solve, tokenizer
from arith_hf.solver import LONGEST, Solver

MODEL: Any = SimpleNamespace(config=SimpleNamespace(model_type="llama"))
CORPUS = [1, "x", None, {"a": [1.5]}]


def given_row(rng: random.Random) -> str:
    row = {"problem": rng.choice(["", "Evaluate: "]) + trace(rng).problem, "answer": rng.choice(CORPUS), "id": 7}
    return json.dumps(row, ensure_ascii=rng.random() < 0.5)


def inside(problem: str) -> str:
    return json.dumps({"problem": problem})


seeds = st.integers(0, 1 << 30).map(random.Random)
rows = hostile(seeds.map(given_row)) | hostile(seeds.map(lambda rng: trace(rng).problem)).map(inside)


@pytest.fixture(scope="module")
def solver() -> Solver:
    """All of a solver but the model: what it takes to say whether a line can be asked."""
    return Solver(MODEL, tokenizer.train("digits"))


def can_be_asked(line: bytes) -> bool:
    try:
        problem = json_reading.row(line).get("problem")
    except ValueError:
        return False
    if not isinstance(problem, str) or not problem.strip() or len(problem) > LONGEST:
        return False
    head, colon, rest = problem.partition(":")
    typed = rest if colon and head.strip().lower() == "evaluate" else problem
    long = any(len(run) > 1000 for run in "".join(one if one.isdigit() else " " for one in typed).split())
    return not long and all(one.isspace() or one in "0123456789+-()" for one in typed)


@fuzzed
@example(b'{"problem": "Evaluate:"}')
@example(b'{"problem": "1 + 2", "completion": NaN}')
@given(rows.map(lambda text: text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")))
def test_a_line_is_asked_where_two_readers_agree(solver: Solver, line: bytes) -> None:
    with within(1):
        row = solve.parse_line(solver, 7, line)
    assert ("error" not in row) == can_be_asked(line), row.get("error")
    if "error" in row:
        assert row["error"].startswith("line 7: ")
        assert len(row["error"]) < 300
    json_reading.row(json.dumps(row, ensure_ascii=False).encode())


def test_a_file_of_long_lines_is_read_a_few_at_a_time(tmp_path: Path) -> None:
    lines = [(number, b"x" * (1 << 20)) for number in range(100)]
    sizes = [len(chunk) for chunk in solve.chunks(iter(lines), 1024)]
    assert (sum(sizes), max(sizes)) == (100, 17)
    assert [len(chunk) for chunk in solve.chunks(iter([(0, b"x")] * 5), 2)] == [2, 2, 1]


def test_a_prompt_that_padding_makes_long_is_refused() -> None:
    solver = Solver(MODEL, tokenizer.train("digits", task="addition/columns/align=1"))
    with within(1), pytest.raises(ValueError, match="at most 16000 characters as it is asked, got"):
        solver.prompt("9" * 1000 + "+1" * 1000)
    assert len(solver.prompt("9" * 200 + "+1" * 20)) == 21 * 201
