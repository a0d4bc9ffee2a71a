"""The verb `solve`: a conversation, expressions on the command line, a file."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from arith_hf import files, notation, solve
from arith_hf.__main__ import main

BLOCK = """\
------------------------------------------------------------
SOLUTION:
------------------------------------------------------------

Reasoning Steps:
  Step 1: 10 - 3 = 7
  Expression now: 5 + 7
  Step 2: 5 + 7 = 12
  Expression now: 12

Final Result: 12
------------------------------------------------------------
"""


def run(pupil: Path, *arguments: str) -> int:
    return main(["solve", "--checkpoint", str(pupil), *arguments])


def test_the_block(pupil: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(pupil, "5 + (10 - 3)") == 0
    assert BLOCK in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"completion": "<think>\n</think>\nFinal Result: 4", "answer": 4}, "  (nothing to do)\n\nFinal Result: 4\n"),
        (
            {"completion": "<think>Evaluation ERROR</think>\nFinal Result: ERROR", "answer": "ERROR"},
            "Steps:\n  Evaluation ERROR\n\nFinal Result: ERROR\n",
        ),
        ({"completion": "<think>\nStep 1", "answer": None, "finished": False}, "  Step 1\n\nFinal Result: none (cut"),
        ({"completion": "nonsense", "answer": None}, "  nonsense\n\nFinal Result: none (the model did not"),
    ],
)
def test_the_block_of_other_completions(row: dict, shown: str) -> None:
    assert shown in solve.block({"finished": True, **row}, notation.of("expression"))


def test_expressions_that_begin_with_a_minus(pupil: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(pupil, "-5+3", "-(3)", "--5", "-5", "- 5 + 3", "1 + 2") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Expression: ")]
    assert said == [f"Expression: {one}" for one in ("-5+3", "-(3)", "--5", "-5", "- 5 + 3", "1 + 2")]


@pytest.mark.parametrize("last", ["exit\n1 + 2\n", "quit\n", "q\n", "  EXIT \n", ""])
def test_a_conversation_goes_on_after_mistakes(
    pupil: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    typed = "5 * x\n\nEvaluate: 5 + (10 - 3)\n" + "1 + " * 2000 + "1\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed + last))
    assert run(pupil) == 0
    out = capsys.readouterr().out
    for said in ("unknown character '*'", "got nothing", BLOCK, "at most 4000 characters"):
        assert out.count(said) == 1, said
    assert out.count("Enter expression: ") == 5


def test_each_turn_is_drawn_with_noise_of_its_own(
    pupil: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.StringIO("1 + 2\n1 + 2\n"))
        assert run(pupil, "--temperature", "9", "--max_new_tokens", "20") == 0
        said.append(capsys.readouterr().out.split("Enter expression: "))
    assert said[0] == said[1]
    assert said[0][1] != said[0][2]


def test_the_help_tells_of_text(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["solve", "--help"])
    assert "one of natural text goes on with texts" in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_leaves_politely(pupil: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    assert run(pupil) == 0
    assert capsys.readouterr().err == ""


LINES = [
    '{"problem": "Evaluate: 1 + 2", "answer": "3", "id": 7}',
    "",
    "not json",
    '{"problem": "5 * 3", "id": 8}',
    "[1]",
    '{"problem": 5}',
    '{"nothing": 1}',
    '{"problem": "5 + (10 - 3)"}',
    '{"problem": ""}',
    '{"problem": "1 + 2", "note": "\\ud800"}',
    '{"problem": "\\u0665 + 1"}',
    '{"problem": "3 +"}',
    '{"problem": "4 - -7"',
]


@pytest.mark.parametrize("batch_size", ["1", "64"])
def test_a_file_is_answered_line_by_line(
    pupil: Path, tmp_path: Path, capsys: pytest.CaptureFixture, batch_size: str
) -> None:
    source, target = tmp_path / "problems.jsonl", tmp_path / "out" / "answers.jsonl"
    source.write_text("\n".join(LINES))
    assert run(pupil, "--input", str(source), "--output", str(target), "--batch_size", batch_size) == 0
    rows = list(files.read_jsonl(target))
    answers = [row["answer"] for row in rows]
    assert answers == [3, None, None, None, None, None, 12, None, None, None, "ERROR", None]
    assert [row["error"].split(":")[0] for row in rows if "error" in row] == [
        f"line {number}" for number in (3, 4, 5, 6, 7, 9, 10, 11, 13)
    ]
    assert (rows[0]["given_answer"], rows[0]["id"], rows[0]["problem"]) == ("3", 7, "Evaluate: 1 + 2")
    assert rows[0]["completion"].endswith("Final Result: 3")
    assert rows[2] == {
        "problem": "5 * 3",
        "id": 8,
        "completion": None,
        "answer": None,
        "fault": None,
        "error": "line 4: unknown character '*' at column 3: need digits, +, -, ( ) and spaces only",
    }
    printed = capsys.readouterr()
    assert "3 right, 0 not right, 9 broken lines" in printed.out.splitlines()[-1]
    assert printed.err.count("line 4: unknown character") == 1


def test_many_lines_go_through_in_order(pupil: Path, tmp_path: Path) -> None:
    """More than one chunk, so the seams show."""
    known = [("1 + 2", 3), ("12", 12), ("4 - -7", 11)]
    source, target = tmp_path / "problems.jsonl", tmp_path / "answers.jsonl"
    files.write_jsonl(source, ({"problem": known[index % 3][0], "id": index} for index in range(100)))
    assert run(pupil, "--input", str(source), "--output", str(target), "--batch_size", "2") == 0
    rows = list(files.read_jsonl(target))
    assert [(row["id"], row["answer"]) for row in rows] == [(index, known[index % 3][1]) for index in range(100)]


def test_an_empty_file_gives_an_empty_file(pupil: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n\n")
    assert run(pupil, "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")) == 0
    assert (tmp_path / "out.jsonl").read_text() == ""


def test_an_interrupt_leaves_no_output(pupil: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(solve, "solve_lines", interrupt)
    (tmp_path / "in.jsonl").write_text('{"problem": "1 + 2"}\n')
    assert run(pupil, "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "none.jsonl", "--output", "out.jsonl"], "no file at none.jsonl"),
        (["--input", "in.jsonl"], "--input and --output together"),
        (["--output", "out.jsonl"], "--input and --output together"),
        (["--input", "in.jsonl", "--output", "out.jsonl", "1 + 2"], "no expressions beside them"),
        (["--input", "in.jsonl", "--output", "in.jsonl", "--overwrite"], "it is the input"),
        (["--input", "in.jsonl", "--output", "old.jsonl"], "--overwrite"),
        (["--input", "in.jsonl", "--output", "."], "a folder"),
        (["--batch_size", "0", "1 + 2"], "--batch_size >= 1"),
        (["--temperature", "-1", "1 + 2"], "--temperature >= 0"),
        (["--max_new_tokens", "x", "1 + 2"], "--max_new_tokens: invalid int"),
        (["--batchsize", "2", "1 + 2"], "--batchsize"),
        (["5 * 3"], "unknown character '*' at column 3"),
        (["-5*3"], "unknown character '*' at column 3"),
    ],
)
def test_mistakes_are_named_before_the_model_is_loaded(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in.jsonl", "old.jsonl"):
        (tmp_path / name).write_text('{"problem": "1 + 2"}\n')
    (tmp_path / "model").mkdir()
    assert run(Path("model"), *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert (tmp_path / "old.jsonl").read_text() == '{"problem": "1 + 2"}\n'


def test_the_real_command(pupil: Path, tmp_path: Path) -> None:
    """One process: a terminal that ends, with the block on its screen and nothing but it."""
    done = subprocess.run(
        [sys.executable, "-m", "arith_hf", "solve", "--checkpoint", str(pupil)],
        input="5 + (10 - 3)\nexit\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Enter expression: \n{BLOCK}\nEnter expression: "


def test_an_output_is_replaced_when_asked(pupil: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"problem": "1 + 2"}\n')
    (tmp_path / "out.jsonl").write_text("old")
    assert (
        run(pupil, "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl"), "--overwrite") == 0
    )
    assert json.loads((tmp_path / "out.jsonl").read_text())["answer"] == 3
