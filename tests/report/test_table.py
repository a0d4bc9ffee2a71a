import doctest
import json

import pytest

from arith_hf import files, report
from arith_hf.report import table


def measured(folder, score, invalid=None, harder=None, **more):
    block = {
        "n": 10,
        "exact_match": score,
        "exact_match_interval": [score - 0.1, score + 0.1],
        "parse_rate": 1.0,
        "mean_tokens": 5.0,
        "by_kind": {} if invalid is None else {"invalid": {"exact_match": invalid, "n": 4}},
        "steps_match": score - 0.05,
        "called_error": 0.002,
        **more,
    }
    files.write_json(folder / "metrics.json", {"seconds": 90, "cpu_seconds": 120})
    files.write_json(
        folder / "evaluate.json",
        {
            "parameters": 7,
            "command": "c",
            "protocols": {"nontrivial": block, "seed": block | {"by_kind": {}}} | (harder or {}),
        },
    )


def test_one_row_a_measured_stage_in_the_order_of_making(tmp_path, capsys):
    measured(tmp_path / "m/sft", 0.5, invalid=0.25)
    measured(tmp_path / "m/pretrain", 0.25, invalid=0.75)
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--output", str(tmp_path / "t.txt")])
    lines = capsys.readouterr().out.splitlines()
    score = "25.0% (15.0% to 35.0%) 20.0% 100.0%"
    assert " ".join(lines[2].split()) == f"pretrain 1.5 {score} {score} 75.0% 0.20%"
    assert lines[3].startswith("sft")
    assert (tmp_path / "t.txt").read_text().splitlines() == lines
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", "markdown"])
    assert capsys.readouterr().out.startswith("| stage | minutes | nontrivial (95 %) | every step |")
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", "json"])
    assert [row["stage"] for row in json.loads(capsys.readouterr().out)] == ["pretrain", "sft"]


def test_nothing_measured_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="run make pipeline MODEL=none"):
        table.collect(tmp_path / "none")


def test_harder_sets_have_a_line_each_and_a_column_a_stage(tmp_path):
    unseen = {"none": {"n": 7}, "some": {"n": 3, "exact_match": 0.125, "exact_match_interval": [0.0, 0.25]}}
    measured(tmp_path / "m/sft", 0.5)
    chains = {"n": 10, "exact_match": 0.25, "exact_match_interval": [0.1, 0.995], "parse_rate": 1.0, "mean_tokens": 5.0}
    measured(tmp_path / "m/grpo", 0.5, harder={"chains": chains | {"by_kind": {}}}, by_unseen=unseen)
    lines = [" ".join(line.split()) for line in table.as_text(table.collect(tmp_path / "m")).splitlines()]
    at = lines.index("exact match (95 %) sft grpo")
    assert lines[at + 2 : at + 6] == [
        "nontrivial, unseen facts 12.5% (0.0% to 25.0%)",
        "seed, unseen facts 12.5% (0.0% to 25.0%)",
        "chains 25.0% (10.0% to 99.50%)",
        "",
    ]
    assert not any("chains" in line for line in lines[:at])
    assert "| chains |  | 25.0% (10.0% to 99.50%) |" in table.as_markdown(table.collect(tmp_path / "m"))


def test_scores_of_older_evaluations_are_still_shown(tmp_path):
    measured(tmp_path / "m/sft", 0.5, steps_match=None, called_error=None)
    assert table.stages_table(table.collect(tmp_path / "m"))[1][3:5] == ["", "100.0%"]


def test_the_examples_in_the_room():
    assert doctest.testmod(table).failed == 0
