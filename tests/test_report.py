import json

import pytest

from arith_hf import files, report


def measured(folder, score, invalid=None):
    block = {
        "n": 10,
        "exact_match": score,
        "exact_match_interval": [score - 0.1, score + 0.1],
        "parse_rate": 1.0,
        "mean_tokens": 5.0,
        "by_kind": {} if invalid is None else {"invalid": {"exact_match": invalid, "n": 4}},
    }
    files.write_json(folder / "metrics.json", {"seconds": 90, "cpu_seconds": 120})
    files.write_json(
        folder / "evaluate.json",
        {"parameters": 7, "command": "c", "protocols": {"nontrivial": block, "seed": block | {"by_kind": {}}}},
    )


def test_one_row_a_measured_stage_in_the_order_of_making(tmp_path, capsys):
    measured(tmp_path / "m/sft", 0.5, invalid=0.25)
    measured(tmp_path / "m/pretrain", 0.25, invalid=0.75)
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--output", str(tmp_path / "t.txt")])
    lines = capsys.readouterr().out.splitlines()
    score = "25.0% (15.0% to 35.0%) 100.0%"
    assert " ".join(lines[2].split()) == f"pretrain 1.5 {score} {score} 75.0%"
    assert lines[3].startswith("sft")
    assert (tmp_path / "t.txt").read_text().splitlines() == lines
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", "markdown"])
    assert capsys.readouterr().out.startswith("| stage | minutes | nontrivial (95 %) |")
    report.main(["--model", "m", "--checkpoints", str(tmp_path), "--format", "json"])
    assert [row["stage"] for row in json.loads(capsys.readouterr().out)] == ["pretrain", "sft"]


def test_nothing_measured_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="run make pipeline MODEL=none"):
        report.collect(tmp_path / "none")
