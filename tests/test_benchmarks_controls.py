"""The arms are the commands of the stages, tested with them; here: what is asked of them and made of the numbers."""

import json
from pathlib import Path

import pytest

from arith_hf import files, rewards
from benchmarks import controls, rejection


def measured(greedy: float, passed: float = 0.5) -> dict:
    each = {k: {"value": passed, "interval": [0.0, 1.0]} for k in ("1", "16")}
    sampled = {"n": 32, "pass_at": each, "exact_n": 1000, "exact_pass_at": each}
    return {"protocols": {"depth5": {"n": 1000, "exact_match": greedy, "sampling": {"1.0": sampled}}}}


@pytest.fixture
def lab(tmp_path) -> controls.Lab:
    folder = tmp_path / "recipes" / "tiny"
    folder.mkdir(parents=True)
    (folder / "grpo.yaml").write_text(
        "num_generations: 4\nsteps_per_generation: 2\nper_device_train_batch_size: 8\nmax_completion_length: 99\n"
    )
    (folder / "evaluate.yaml").write_text("protocol: [nontrivial, depth5]\nnum_samples: [50, 70]\n")
    return controls.Lab(folder, Path("cpu.yaml"))


def finish(lab: controls.Lab, arm: str, seed: int, greedy: float, core_seconds: float = 60.0) -> None:
    place = lab.place(arm, seed)
    files.write_json(place / "metrics.json", {"cpu_seconds": core_seconds, "steps": 8})
    files.write_json(place / "evaluate.json", measured(greedy))


def test_gains_are_paired_by_seed(lab):
    """Parents that differ by ten points hide no gain of five that each of them has."""
    for seed, base in enumerate((0.3, 0.4, 0.5)):
        finish(lab, "frozen", seed, base)
        finish(lab, "steps", seed, base + 0.05 + 0.001 * seed)
    rows = controls.summarize([controls.measured(lab, seed) for seed in range(3)])
    assert [row["arm"] for row in rows] == ["frozen", "steps"]
    gain = rows[1]["greedy gain"]
    assert gain["mean"] == pytest.approx(0.051)
    assert gain["interval"][0] > 0.045
    assert rows[0]["core_minutes"] == 0.0
    assert rows[1]["core_minutes"] == 1.0


def test_the_table_tells_every_seed_and_the_gain(lab):
    for seed in range(2):
        finish(lab, "frozen", seed, 0.4)
        finish(lab, "steps", seed, 0.5 + 0.02 * seed)
    text = controls.table(controls.summarize([controls.measured(lab, seed) for seed in range(2)]))
    assert "| the fine-tuned model as it is | 0.0 | 0, 0 | 40.0 (40.0, 40.0) |" in text
    said = "GRPO, right answers and right steps, stops at the fault"
    assert f"| {said} | 1.0 | 8, 8 | 51.0 (50.0, 52.0) | +11.0 [-1.7, +23.7] |" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_the_recipe_is_held_against_each_other_arm(lab):
    for seed in range(2):
        finish(lab, "frozen", seed, 0.4)
        finish(lab, "steps", seed, 0.5)
        finish(lab, "more", seed, 0.45 + 0.02 * seed)
    text = controls.behind(controls.summarize([controls.measured(lab, seed) for seed in range(2)]))
    assert "| the fine-tuned model as it is | +10.0 [+10.0, +10.0] |" in text
    assert "| fine-tuning goes on | +4.0 [-8.7, +16.7] |" in text
    assert len(text.splitlines()) == 4, "not against itself"


def test_an_arm_that_had_too_little_time_is_run_again(lab, monkeypatch):
    """The first updates of a trial cost more than the later ones."""
    said = []

    def run(self, verb, *more, stage=None):
        words = dict(zip(more[::2], more[1::2], strict=False))
        said.append(words["--max_steps"])
        files.write_json(words["--output_dir"] / "metrics.json", {"cpu_seconds": 20 + 2.0 * words["--max_steps"]})

    monkeypatch.setattr(controls.Lab, "run", run)
    controls.equal(lab, "answers", 0, budget=220.0)
    assert said == [12, 60, 94]
    assert controls.spent(lab.place("answers", 0)) == pytest.approx(220, rel=0.06)


def test_a_launch_on_a_gpu_is_refused(tmp_path):
    (tmp_path / "gpu.yaml").write_text("use_cpu: false\n")
    config = ["--config", "recipes/expression-rl/grpo.yaml", "--launch_config", str(tmp_path / "gpu.yaml")]
    with pytest.raises(SystemExit, match="need a launch_config with use_cpu"):
        controls.read(config)


def test_equal_compute_counts_the_sampling(lab, monkeypatch):
    """Updates follow from what one cost in a trial, and rollouts come out of the same budget."""
    said = []

    def run(self, verb, *more, stage=None):
        words = dict(zip(more[::2], more[1::2], strict=False))
        said.append({"verb": verb, **words})
        cost = {"sft": 0.5, "grpo": 3.0}[verb] * words["--max_steps"]
        files.write_json(words["--output_dir"] / "metrics.json", {"cpu_seconds": cost, "steps": words["--max_steps"]})

    monkeypatch.setattr(controls.Lab, "run", run)
    files.write_json(lab.place("rollouts", 0) / "rollouts.json", {"core_seconds": 40.0, "kept": 5})
    for arm in ("answers", "more", "kept"):
        controls.equal(lab, arm, 0, budget=100.0)
    grpo, sft = controls.TRIAL["grpo"], controls.TRIAL["sft"]
    assert [words["--max_steps"] for words in said] == [grpo, 34, sft, 200, sft, 120]
    assert said[1]["--max_steps"] % 2 == 0, "whole generations"
    assert (said[1]["verb"], said[1]["--stop_at_fault"]) == ("grpo", "false")
    assert said[5]["--dataset_name"] == lab.place("rollouts", 0) / "kept.jsonl"
    assert "--dataset_name" not in said[3]
    assert controls.cost(lab, "kept", 0) == pytest.approx(100.0)


def test_as_many_rollouts_as_grpo_had(lab, monkeypatch):
    asked = {}

    def finish(command, keep=False):
        words = list(map(str, command))
        asked.update(zip(words[3::2], words[4::2], strict=True))
        return 'log\n{"rollouts": 48, "kept": 7, "core_seconds": 1.5}\n'

    files.write_json(lab.place("answers", 1) / "metrics.json", {"steps": 6})
    monkeypatch.setattr(controls, "finish", finish)
    assert controls.sample(lab, 1)["kept"] == 7
    assert (asked["--num_prompts"], asked["--num_generations"], asked["--max_completion_length"]) == ("12", "4", "99")
    monkeypatch.setattr(controls, "finish", None)  # not asked again
    assert controls.sample(lab, 1)["rollouts"] == 48


def test_the_test_set_of_the_recipe_is_asked_for(lab):
    assert controls.asked(lab)[:4] == ["--protocol", "depth5", "--num_samples", 70]


@pytest.mark.parametrize("argv", [["--config", "nowhere/grpo.yaml"], ["--config", "recipes/smoke/sft.yaml"]])
def test_another_recipe_is_refused(argv):
    with pytest.raises(SystemExit, match=r"need --config recipes/<model>/grpo\.yaml"):
        controls.main(argv)


def test_only_right_rollouts_are_kept(road, tmp_path, capsys):
    where = ["--checkpoint", str(road / "checkpoints/tiny/pretrain"), "--dataset_name", str(road / "data/tiny")]
    sizes = ["--num_prompts", "4", "--num_generations", "3", "--max_completion_length", "120"]
    rejection.main([*where, *sizes, "--output", str(tmp_path / "kept.jsonl")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    kept = list(files.read_jsonl(tmp_path / "kept.jsonl"))
    assert told["rollouts"] == 12
    assert told["kept"] == len(kept) == len({(row["prompt"], row["completion"]) for row in kept}) <= told["right"]
    assert all(rewards.exact_answer([row["completion"]], [row["answer"]]) == [1.0] for row in kept)
