import asyncio
import math
import re
import sys

import conftest
import pytest
import torch
from conftest import stage
from safetensors.torch import load_file

from arith_hf import files
from arith_hf.train.frontier import finite


def test_parameters_move_and_held_out_accuracy_is_logged(road, tmp_path):
    """From a model that is never right no group is mixed; a reward that always differs shows that the policy moves."""
    output = tmp_path / "grpo"
    more = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(output)]
    assert stage(road, "grpo", *more, "--reward_funcs", "conftest.length_reward") == 0
    before, after = (
        load_file(road / "checkpoints/tiny/pretrain/model.safetensors"),
        load_file(output / "model.safetensors"),
    )
    assert all(not torch.equal(before[name], after[name]) for name in before)
    metrics = files.read_json(output / "metrics.json")
    assert "eval_exact_match" in metrics
    assert "eval_rewards/length_reward/mean" in metrics


@pytest.mark.parametrize("strategy", ["best", "epoch"])
def test_a_save_that_may_fall_between_generations_is_refused(road, capsys, strategy):
    more = ["--eval_steps", "1", "--save_strategy", strategy, "--metric_for_best_model", "eval_loss"]
    assert stage(road, "grpo", *more) == 2
    assert "save_strategy: need steps, a multiple of 2 of them, as others may save" in capsys.readouterr().err


def test_two_generations_for_one_update_are_refused(road, capsys):
    """They would draw the same prompts and the same rollouts."""
    assert stage(road, "grpo", "--gradient_accumulation_steps", "4") == 2
    assert "gradient_accumulation_steps: need at most 2, the batches of one generation" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [None, "five", "5.5"])
def test_an_answer_that_nothing_could_give_stops_before_any_compute(road, tmp_path, capsys, answer):
    mine = tmp_path / "mine.jsonl"
    rows = [{"prompt": "Evaluate: 1 + 4\n", "answer": "05"}, {"prompt": "Evaluate: 2 + 3\n", "answer": answer}]
    files.write_jsonl(mine, rows * 4)
    more = ["--dataset_name", str(mine), "--output_dir", str(tmp_path / "grpo")]
    more += ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain")]
    assert stage(road, "grpo", *more) == 2
    assert f"need an integer or ERROR as the answer of a row, got {answer!r}" in capsys.readouterr().err
    assert not (tmp_path / "grpo").exists()


def test_a_save_between_generations_is_refused(road, capsys):
    assert stage(road, "grpo", "--save_steps", "3", "--eval_steps", "3") == 2
    assert "save_steps: need a multiple of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        (math.nan, "the reward function odd_reward paid nan: need finite rewards, or None"),
        (-math.inf, "the reward function odd_reward paid -inf: need finite rewards, or None"),
        (1e39, "the reward function odd_reward paid 1e+39: need finite rewards, or None"),
        (None, "the reward function odd_reward paid None for all 16 completions: nothing to learn"),
    ],
)
def test_a_reward_that_teaches_nothing_is_no_finished_run(road, tmp_path, monkeypatch, capsys, reward, said):
    def odd_reward(completions, **_):
        return [reward] * len(completions)

    monkeypatch.setattr(conftest, "odd_reward", odd_reward)
    assert learnt(road, tmp_path) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "grpo/metrics.json").exists()


def test_a_reward_that_leaves_the_program_is_said(road, tmp_path, monkeypatch, capsys):
    def odd_reward(completions, **_):
        sys.exit(0)

    monkeypatch.setattr(conftest, "odd_reward", odd_reward)
    assert learnt(road, tmp_path) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"arith-hf grpo: .*test_grpo.py, line \d+ called sys.exit\(0\) before the work was done", last)


def learnt(road, tmp_path) -> int:
    more = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path / "grpo")]
    return stage(road, "grpo", *more, "--reward_funcs", "conftest.odd_reward", "--num_eval_generations", "1")


def test_none_beside_numbers_is_let_by():
    def some(completions):
        return [None, 1.0, 0, torch.tensor(0.5)]

    async def late(completions):
        return some(completions)

    assert finite(some, "some")(completions=[]) == some([])
    assert asyncio.run(finite(late, "late")(completions=[])) == some([])
