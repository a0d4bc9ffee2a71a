"""Killing stages and comparing what they leave: that what differs is seen, and a short run of the real thing."""

import json
import os

import pytest
from conftest import write_recipes

from arith_hf import files
from benchmarks import resume

METRICS = {"stage": "sft", "eval_loss": 0.5, "seconds": 3.0, "weights": {"model.safetensors": "ab"}, "best_step": 4}
STATE = {"log_history": [{"step": 2, "loss": 1.0, "step_time": 0.1}, {"step": 4, "loss": 0.5, "train_runtime": 9.0}]}


def finished(folder, metrics=METRICS, state=STATE, weights=b"weights"):
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "trainer_state.json", state)
    files.write_bytes(folder / "model.safetensors", weights)
    files.write_bytes(folder / "checkpoint-4/optimizer.pt", os.urandom(8))
    files.write_json(folder / "provenance.json", {"started": str(folder)})
    return folder


def test_times_and_folders_are_no_difference(tmp_path):
    later = {"log_history": [STATE["log_history"][0] | {"step_time": 7.0}, STATE["log_history"][1]]}
    ours = finished(tmp_path / "a")
    assert resume.compare(ours, finished(tmp_path / "b", METRICS | {"seconds": 8.0}, later)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": b"another"}, "model.safetensors: content is"),
        ({"metrics": METRICS | {"eval_loss": 0.25}}, "metrics.json: eval_loss is 0.5 and 0.25"),
        ({"metrics": METRICS | {"grown": 1}}, "metrics.json: grown is None and 1"),
        ({"state": {"log_history": STATE["log_history"][:1]}}, "trainer_state.json: log_history is"),
        (
            {"state": {"log_history": [{"step": 2, "loss": 1.5}, STATE["log_history"][1]]}},
            "trainer_state.json: log_history.0.loss is 1.0 and 1.5",
        ),
    ],
)
def test_whatever_else_differs_is_named(tmp_path, change, said):
    (found,) = resume.compare(finished(tmp_path / "a"), finished(tmp_path / "b", **change))
    assert found.startswith(said)


def test_a_file_that_is_missing_is_named(tmp_path):
    ours, theirs = finished(tmp_path / "a"), finished(tmp_path / "b")
    (theirs / "model.safetensors").unlink()
    assert resume.compare(ours, theirs) == ["model.safetensors: only in one of them"]


def test_what_cannot_be_killed_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no recipe in"):
        resume.read(["--recipes", str(tmp_path)])
    recipes = write_recipes(tmp_path)
    with pytest.raises(SystemExit, match="need kills > 0, got 0"):
        resume.read(["--recipes", str(recipes), "--kills", "0"])
    assert resume.read(["--recipes", str(recipes)]).stages == list(resume.STAGES)


@pytest.mark.slow
def test_killed_at_random_moments_the_result_is_the_same(road, tmp_path, capsys):
    """The short form of `make verify-resume`."""
    recipes = str(road / "recipes/tiny")
    assert (
        resume.main(["--recipes", recipes, "--kills", "2", "--stages", "corpus", "sft", "--folder", str(tmp_path)]) == 0
    )
    (line,) = capsys.readouterr().out.splitlines()
    rows = {row["stage"]: row for row in json.loads(line)["stages"]}
    assert set(rows) == {"corpus", "sft"}
    for row in rows.values():
        assert row["kills"] == 2
        assert row["ended"] >= 1
        assert row["differences"] == []
