import doctest
import json
import shutil
from datetime import datetime

import pytest
import texts
from conftest import stage

from arith_hf import files, provenance, report, sweep
from arith_hf.__main__ import main
from arith_hf.train import record


def test_examples():
    assert doctest.testmod(record).failed == 0


LOG = [
    {"step": 2, "loss": 4.0, "learning_rate": 0.1},
    {"step": 3, "loss": 1.0, "learning_rate": 0.2},
    {"step": 3, "eval_loss": 1.5, "eval_runtime": 9.0},
    {"step": 3, "eval_exact_match": 0.25},
    {"step": 5, "loss": 0.5},
    {"step": 6, "eval_loss": 1.0, "eval_exact_match": 0.125},
    {"step": 6, "train_runtime": 1.0, "train_loss": 1.0, "total_flos": 1.0},
]


def test_the_history_has_an_evaluation_a_row_with_the_losses_since_the_one_before():
    assert record.by_evaluation(LOG) == [
        {"step": 3, "loss": 3.0, "learning_rate": 0.2, "eval_loss": 1.5, "eval_exact_match": 0.25},
        {"step": 6, "eval_loss": 1.0, "eval_exact_match": 0.125, "loss": 0.5},
    ]
    unevaluated = [row for row in LOG if "loss" in row]
    assert record.by_evaluation(unevaluated) == unevaluated
    assert record.by_evaluation([]) == []


@pytest.mark.parametrize(
    ("metric", "greater", "step"),
    [(None, None, 6), ("eval_loss", None, 6), ("exact_match", None, 3), ("loss", True, 3), ("eval_none", None, None)],
)
def test_the_best_is_by_the_metric_that_the_recipe_names(metric, greater, step):
    found = record.best(record.by_evaluation(LOG), metric, greater)
    assert (found and found["step"]) == step
    broken = [{"step": 1, "eval_loss": float("nan")}, *LOG]
    assert record.best(record.by_evaluation(broken), None, None)["step"] == 6


def test_a_stage_leaves_a_record_that_is_signed(road, tmp_path, capsys):
    folder = road / "checkpoints/tiny/pretrain"
    told, done = files.read_json(folder / "training.json"), files.read_json(folder / "metrics.json")
    made = files.read_json(folder / "provenance.json")
    assert told["run_id"].startswith("pretrain-20")
    assert told["run_id"].endswith(made["recipe_sha256"][:8])
    assert datetime.fromisoformat(told["started"]) <= datetime.fromisoformat(told["ended"])
    assert told["configuration"]["learning_rate"] == 0.001
    assert [row["step"] for row in told["history"]] == [2, 4]
    assert told["final"] == told["history"][-1]
    assert told["final"]["eval_loss"] == done["eval_loss"]
    assert told["best"]["value"] == min(row["eval_loss"] for row in told["history"])
    assert done["files"]["training.json"] == files.sha256(folder / "training.json")
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    files.write_json(changed / "training.json", told | {"best": {"metric": "eval_loss", "value": 0.0, "step": 1}})
    capsys.readouterr()
    assert main(["lineage", str(changed)]) == 1
    assert "training.json" in capsys.readouterr().out


def test_a_run_that_was_gone_on_with_began_when_its_first_part_did(road, tmp_path):
    folder = tmp_path / "pretrain"
    assert stage(road, "pretrain", "--output_dir", str(folder)) == 0
    whole = files.read_json(folder / "training.json")
    (folder / "metrics.json").unlink()
    shutil.rmtree(folder / "checkpoint-4")
    before = files.read_json(folder / provenance.NAME) | {"started": "2020-01-02T03:04:05+00:00"}
    files.write_json(folder / provenance.NAME, before)
    assert stage(road, "pretrain", "--output_dir", str(folder)) == 0
    told = files.read_json(folder / "training.json")
    assert told["started"] == "2020-01-02T03:04:05+00:00"
    assert told["run_id"].startswith("pretrain-20200102T030405Z-")
    assert [row["eval_loss"] for row in told["history"]] == [row["eval_loss"] for row in whole["history"]]


def test_a_run_that_diverged_is_told_by_name_in_json_that_any_reader_takes(tmp_path):
    """And a sweep passes it over; the Trainer's own filter would log its loss as 0."""
    root = texts.write(tmp_path)
    assert stage(root, "pretrain", "--learning_rate", "1e30", "--max_grad_norm", "0") == 0
    folder = root / "checkpoints/tiny/pretrain"

    def refuse(constant):
        raise AssertionError(constant)

    metrics, told = (
        json.loads((folder / name).read_text(), parse_constant=refuse) for name in ("metrics.json", "training.json")
    )
    assert (metrics["eval_loss"], metrics["train_loss"]) == ("NaN", "NaN")
    assert (told["final"]["loss"], told["final"]["eval_loss"], told["best"]) == ("NaN", "NaN", None)
    assert sweep.result(sweep.Run({}, folder, []), "eval_loss", 0)["value"] is None
    assert "pretrain" in report.html(folder.parent)
