"""Every rollout of a run is on disk, once, as the trainer saw it; and the run is the same as without the recorder."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import RECIPES, stage
from safetensors.torch import load_file
from trl import GRPOTrainer

from arith_hf import files
from arith_hf.notation import expression as notation
from arith_hf.train import recorder

CALLED = {  # what TRL's trainer calls with these names; the recorder overrides it
    "_calculate_rewards": ["inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["inputs"],
    "_get_per_token_logps_and_entropies": ["model", "input_ids", "attention_mask", "logits_to_keep"],
    "compute_loss": ["model", "inputs"],
}
SIZE, GROUP = RECIPES["grpo"]["per_device_train_batch_size"], RECIPES["grpo"]["num_generations"]


@pytest.mark.parametrize("name", CALLED)
def test_trl_still_has_and_calls_what_the_recorder_overrides(name):
    method = getattr(GRPOTrainer, name, None)
    assert method is not None, f"this TRL has no GRPOTrainer.{name}: arith_hf/train/recorder.py must find another place"
    assert list(inspect.signature(method).parameters)[1 : len(CALLED[name]) + 1] == CALLED[name]
    assert f".{name}(" in inspect.getsource(GRPOTrainer) or name == "compute_loss"
    assert name in vars(recorder.Recorder)


def record(road, output, *more, reward="conftest.length_reward"):
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(output)]
    own = ["--reward_funcs", reward, "--record_rollouts", "true", "--lr_scheduler_type", "constant"]
    return stage(road, "grpo", *parent, *own, *more)


def read(output):
    """The rows by file."""
    return {path.stem: pq.read_table(path).to_pylist() for path in sorted((output / "rollouts").glob("*.parquet"))}


@pytest.fixture(scope="module")
def recorded(road, tmp_path_factory):
    output = tmp_path_factory.mktemp("recorded") / "grpo"
    assert record(road, output) == 0
    return output


def test_every_rollout_is_there_once(recorded):
    """4 updates, a generation of 2 x 8 rollouts for two of them, 4 held-out prompts at updates 2 and 4."""
    rows = read(recorded)
    assert {name: len(one) for name, one in rows.items()} == {
        **{"train-00000": 2 * SIZE, "train-00002": 2 * SIZE},
        **{"eval-00002": 4, "eval-00004": 4},
    }
    assert [row["group"] for row in rows["train-00002"]] == [index // GROUP for index in range(2 * SIZE)]
    assert [row["group"] for row in rows["eval-00004"]] == [0, 1, 2, 3]
    for name, some in rows.items():
        assert {(row["split"], row["step"]) for row in some} == {(name.split("-")[0], int(name.split("-")[1]))}
        for group in {row["group"] for row in some}:
            assert len({row["prompt"] for row in some if row["group"] == group}) == 1


def test_the_figures_are_those_that_the_trainer_logged(recorded):
    rows = read(recorded)
    state = files.read_json(max(recorded.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.parent.name))
    logged = {row["step"]: row for row in state["log_history"] if "entropy" in row}
    # a generation serves two updates: TRL counts it at the first, and the entropy at each
    for step, name in ((1, "train-00000"), (3, "train-00002")):
        some, line = rows[name], logged[step]
        assert mean(some, "reward") == pytest.approx(line["reward"], abs=1e-5)
        assert mean(some, "num_tokens") == pytest.approx(line["completions/mean_length"])
        assert sum(not row["finished"] for row in some) / len(some) == line["completions/clipped_ratio"]
        tokens = sum(row["num_tokens"] for row in some)
        entropy = sum(row["entropy"] * row["num_tokens"] for row in some) / tokens
        low, high = sorted((line["entropy"], logged[step + 1]["entropy"]))
        assert low - 1e-4 <= entropy <= high + 1e-4
    for row in (row for some in rows.values() for row in some):
        assert row["reward"] == row["reward/length_reward"] == len(row["completion"])
        assert row["entropy"] > 0
        assert row["truncated"] is not row["finished"]


def mean(rows, key):
    return sum(row[key] for row in rows) / len(rows)


def test_advantages_are_the_distance_from_the_mean_of_the_group(recorded):
    for row in (rows := read(recorded)["train-00000"]):
        group = [one["reward"] for one in rows if one["group"] == row["group"]]
        assert row["advantage"] == pytest.approx(row["reward"] - sum(group) / len(group), abs=1e-5)


def test_recording_changes_no_weight(road, recorded, tmp_path):
    assert record(road, tmp_path / "grpo", "--record_rollouts", "false") == 0
    assert not (tmp_path / "grpo/rollouts").exists()
    first, second = (load_file(folder / "model.safetensors") for folder in (recorded, tmp_path / "grpo"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resumed_the_rows_are_those_of_the_whole_run(road, recorded, tmp_path):
    output = tmp_path / "grpo"
    assert record(road, output, "--max_steps", "2") == 0
    (output / "metrics.json").unlink()  # as if interrupted behind step 2, with rows of a step that is not saved
    rows = output / "rollouts"
    for name in ("train-00002.parquet", "train-00003.parquet", "eval-00003.parquet", ".train-00004.parquet.1.part"):
        (rows / name).write_bytes(b"of the run that broke off")
    assert record(road, output, "--max_steps", "4", "--resume_from_checkpoint", "true") == 0
    assert {path.name for path in rows.iterdir()} == {path.name for path in (recorded / "rollouts").iterdir()}
    assert read(output) == read(recorded)


def test_started_over_nothing_old_is_left(road, tmp_path):
    output = tmp_path / "grpo"
    (output / "rollouts").mkdir(parents=True)
    (output / "rollouts/train-00099.parquet").write_bytes(b"of another run")
    assert record(road, output, "--max_steps", "2") == 0
    assert set(read(output)) == {"train-00000", "eval-00002"}
    assert record(road, output, "--max_steps", "2", "--record_rollouts", "false") == 0
    assert not (output / "rollouts").exists()


def test_of_a_run_that_stops_at_faults_the_rows_say_so(road, tmp_path):
    assert record(road, tmp_path / "grpo", "--stop_at_fault", "true", "--max_steps", "2") == 0
    rows = read(tmp_path / "grpo")
    trained = {(row["outcome"], row["finished"], row["truncated"]) for row in rows["train-00000"]}
    assert trained == {("stopped", False, False)}
    assert all(row["outcome"] != "stopped" for row in rows["eval-00002"])


def row_of(problem, completion, finished=True):
    prompt = notation.prompt(notation.problem(problem))
    given = {"task": "expression", "answer": str(eval(problem))}
    return recorder.judge(given, prompt, completion, 9, finished)


def test_what_a_row_says_of_a_completion():
    right = notation.solution(notation.prompt(notation.problem("5 + (10 - 3)")))
    assert (row := row_of("5 + (10 - 3)", right))["right"]
    assert (row["said"], row["outcome"], row["valid"], row["fault"]) == ("12", "right", [True, True], None)
    row = row_of("5 + (10 - 3)", right.replace("10 - 3 = 7", "10 - 3 = 8"))
    assert (row["said"], row["outcome"], row["fault"], row["fault_step"]) == ("12", "unfaithful", "digit", 0)
    assert row["valid"][0] is False
    row = row_of("5 + (10 - 3)", right[: right.index("Step 2")], finished=False)
    assert (row["said"], row["outcome"], row["fault"], row["right"]) == (None, "truncated", "cut", False)
    row = row_of("5 + (10 - 3)", right, finished=False)
    assert (row["said"], row["outcome"], row["right"]) == ("12", "truncated", True)


def test_what_cannot_be_read_is_not_right_where_there_is_no_answer():
    prompt = notation.prompt(notation.problem("5 + 3"))
    row = recorder.judge({"task": "expression", "answer": None}, prompt, "Step 1: 5", 9, finished=True)
    assert (row["said"], row["right"]) == (None, False)


def test_a_rollout_that_stopped_at_its_fault_was_not_truncated():
    whole = notation.solution(notation.prompt(notation.problem("5 + (10 - 3)")))
    wrong = row_of("5 + (10 - 3)", whole[: whole.index("7")] + "8", finished=False)
    assert recorder.ending(wrong, 20) == {"truncated": False, "outcome": "stopped"}
    assert recorder.ending(wrong, 9) == {"truncated": True, "outcome": "truncated"}
    right = row_of("5 + (10 - 3)", whole)
    assert recorder.ending(right, 9) == {"truncated": False, "outcome": "right"}


@pytest.mark.slow
def test_two_processes_write_one_record(road, tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    verb = ["-m", "arith_hf", "grpo", "--config", str(road / "recipes/tiny/grpo.yaml"), "--record_rollouts", "true"]
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path / "grpo")]
    more = ["--reward_funcs", "conftest.length_reward", "--max_steps", "2"]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root, root / "tests"))), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launch, *verb, *parent, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "grpo")
    assert {name: len(one) for name, one in rows.items()} == {"train-00000": 4 * SIZE, "eval-00002": 16}
    for group in range(4 * SIZE // GROUP):
        some = [row for row in rows["train-00000"] if row["group"] == group]
        assert len(some) == GROUP
        assert len({row["prompt"] for row in some}) == 1
        assert sum(row["advantage"] for row in some) == pytest.approx(0, abs=1e-4)
    assert len({json.dumps(row) for row in rows["train-00000"]}) == 4 * SIZE
