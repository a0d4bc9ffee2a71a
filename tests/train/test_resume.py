"""What a run that was stopped leaves, whole or broken, and how the next one goes on."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import prepared_grpo, stage

from arith_hf import files
from arith_hf.train import grpo, interrupt, resume, sft
from benchmarks import resume as verify

FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
HOLD = """
from pathlib import Path
from arith_hf import files
held = files.hold(Path({!r}))
print("held", flush=True)
input()
"""
LIMITED = """
import resource
from arith_hf.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
raise SystemExit(main(["sft", *{1}]))
"""


@pytest.fixture(scope="module")
def steps(road, tmp_path_factory) -> Path:
    """A folder with the step checkpoints 2 and 4 of fine-tuning; tests copy it."""
    folder = tmp_path_factory.mktemp("steps") / "sft"
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(folder)]
    assert stage(road, "sft", *parent) == 0
    return folder


@pytest.fixture
def copy(steps, tmp_path) -> Path:
    return Path(shutil.copytree(steps, tmp_path / "sft"))


def test_the_newest_step_is_gone_on_from(copy):
    assert resume.last_step(copy) == str(copy / "checkpoint-4")
    assert {path.name for path in (copy / "checkpoint-4").iterdir()} - {"seal.json"} == set(
        files.read_json(copy / "checkpoint-4/seal.json")
    )


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "cut off"])
def test_a_broken_step_is_named_and_passed_over(copy, caplog, monkeypatch, sealed, name, how):
    monkeypatch.setattr(resume.logger, "propagate", True)
    path = copy / "checkpoint-4" / name
    whole = path.read_bytes()
    path.unlink()
    if how == "cut off":
        path.write_bytes(whole[: len(whole) // 2])
    if not sealed:
        (copy / "checkpoint-4/seal.json").unlink()
    assert resume.last_step(copy) == str(copy / "checkpoint-2")
    assert f"passing over {copy}/checkpoint-4" in caplog.text
    assert name in caplog.text


def best_is(copy: Path, step: str) -> None:
    state = files.read_json(copy / "checkpoint-4/trainer_state.json")
    (copy / "checkpoint-4/seal.json").unlink()
    files.write_json(copy / "checkpoint-4/trainer_state.json", state | {"best_model_checkpoint": str(copy / step)})


def test_a_step_whose_best_is_lost_or_damaged_is_passed_over(copy, caplog, monkeypatch):
    """It would be loaded at the end."""
    monkeypatch.setattr(resume.logger, "propagate", True)
    best_is(copy, "checkpoint-2")
    assert resume.last_step(copy) == str(copy / "checkpoint-4")
    weights = copy / "checkpoint-2/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert resume.last_step(copy) is None
    assert "its best step checkpoint-2: model.safetensors is not the file that was written" in caplog.text
    shutil.rmtree(copy / "checkpoint-2")
    assert resume.last_step(copy) is None
    assert "its best step checkpoint-2 is missing" in caplog.text


def test_steps_that_are_whole_no_more_are_not_begun_anew_in_silence(road, copy, capsys):
    for name in ("checkpoint-2", "checkpoint-4"):
        (copy / name / "model.safetensors").unlink()
    (copy / "metrics.json").unlink()
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(copy)]
    assert stage(road, "sft", *parent) == 2
    assert "no step checkpoint in" in (said := capsys.readouterr().err)
    assert "--resume_from_checkpoint false to start over" in said
    assert (copy / "checkpoint-4").is_dir()
    assert stage(road, "sft", *parent, "--resume_from_checkpoint", "false") == 0


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "training_args.bin"])
def test_a_flipped_bit_is_seen(copy, caplog, monkeypatch, name):
    monkeypatch.setattr(resume.logger, "propagate", True)
    path = copy / "checkpoint-4" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert resume.last_step(copy) == str(copy / "checkpoint-2")
    assert f"{name} is not the file that was written" in caplog.text


def test_a_folder_is_held_by_one_run_at_a_time_and_not_by_a_dead_one(tmp_path):
    held = files.hold(tmp_path / "sft")
    with pytest.raises(ValueError, match=f"another run is at work in {tmp_path}/sft"):
        files.hold(tmp_path / "sft")
    held.release()
    code = HOLD.format(str(tmp_path / "sft"))
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match="another run is at work"):
        files.hold(tmp_path / "sft")
    other.kill()
    other.wait()
    files.hold(tmp_path / "sft").release()


def unfinished(place: Path, step: str = "checkpoint-2") -> Path:
    """Moves a finished run aside, and leaves in its place what it would have left if killed behind a step."""
    whole = place.rename(place.parent / "whole")
    for part in (step, "rollouts"):
        if (whole / part).is_dir():
            shutil.copytree(whole / part, place / part)
    for part in ("recipe.yaml", "provenance.json"):
        shutil.copy(whole / part, place / part)
    return whole


def test_what_cannot_be_written_leaves_the_last_step(road, tmp_path):
    """As on a full disk: files may not be so large. Later it ends where an undisturbed run does."""
    place = tmp_path / "sft"
    argv = ["--config", str(road / "recipes/tiny/sft.yaml"), "--output_dir", str(place)]
    argv += ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain")]
    assert stage(road, "sft", *argv[2:]) == 0
    whole = unfinished(place)
    largest = (whole / "checkpoint-2/optimizer.pt").stat().st_size // 2
    done = subprocess.run([sys.executable, "-c", LIMITED.format(largest, argv)], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert f"arith-hf sft: could not write a step checkpoint in {place}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "metrics.json").exists()
    assert resume.last_step(place) == str(place / "checkpoint-2")
    assert stage(road, "sft", *argv[2:]) == 0
    assert verify.compare(whole, place) == []


@pytest.mark.parametrize("name", ["sft", "dpo", "grpo"])
def test_a_run_that_was_killed_behind_its_last_step_takes_no_more(road, tmp_path, name):
    place = tmp_path / name
    more = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(place)]
    more += ["--reward_funcs", "conftest.odd_reward", "--record_rollouts", "true"] if name == "grpo" else []
    assert stage(road, name, *more) == 0
    whole = unfinished(place, "checkpoint-4")
    assert stage(road, name, *more) == 0
    assert files.read_json(place / "metrics.json")["resumed_from"].endswith("checkpoint-4")
    assert verify.compare(whole, place) == []


def test_what_made_the_part_before_is_kept(road, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(resume.logger, "propagate", True)
    place = tmp_path / "sft"
    more = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(place)]
    assert stage(road, "sft", *more) == 0
    unfinished(place)
    made = files.read_json(place / "provenance.json")
    files.write_json(place / "provenance.json", made | {"commit": "older", "code_sha256": "0" * 64})
    assert stage(road, "sft", *more) == 0
    assert "the part before was made with other code_sha256" in caplog.text
    (part,) = files.read_json(place / "provenance.json")["resumed"]
    assert (part["commit"], part["step"], part["versions"]) == ("older", "checkpoint-2", made["versions"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_saves_its_step(road, steps, tmp_path, monkeypatch, capsys, number):
    """At step 1, where none is due; what follows is byte for byte what an undisturbed run has made."""
    save = interrupt.Stop.on_step_end

    def interrupted(self, args, state, control, **kwargs):
        if state.global_step == 1:
            os.kill(os.getpid(), number)
        save(self, args, state, control, **kwargs)

    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path / "sft")]
    monkeypatch.setattr(interrupt.Stop, "on_step_end", interrupted)
    before = signal.getsignal(number)
    assert stage(road, "sft", *parent) == 1
    assert "stopped at step 1 of 4, which is saved; the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert resume.last_step(tmp_path / "sft") == str(tmp_path / "sft/checkpoint-1")
    monkeypatch.setattr(interrupt.Stop, "on_step_end", save)
    assert stage(road, "sft", *parent) == 0
    assert files.sha256(tmp_path / "sft/model.safetensors") == files.sha256(steps / "model.safetensors")
    assert files.read_json(tmp_path / "sft/metrics.json")["resumed_from"].endswith("checkpoint-1")


@pytest.mark.parametrize("name", ["pretrain", "sft", "lora", "dpo", "grpo"])
def test_a_killed_run_leaves_what_a_whole_one_leaves(road, tmp_path, name):
    """All that is published but for times: as if killed behind the save of step 2, which is no step of the log's."""
    verb, place = {"lora": "sft"}.get(name, name), tmp_path / name
    more = ["--output_dir", str(place), "--logging_steps", "3", "--save_total_limit", "5"]
    if name != "pretrain":
        more += ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain")]
    if name == "grpo":
        more += ["--reward_funcs", "conftest.odd_reward", "--record_rollouts", "true"]
    assert stage(road, verb, *more, recipe=name) == 0
    whole = unfinished(place)
    assert stage(road, verb, *more, recipe=name) == 0
    assert files.read_json(place / "metrics.json")["resumed_from"].endswith("checkpoint-2")
    assert verify.compare(whole, place) == []


def test_the_step_that_is_saved_stays_though_another_is_the_best(road, tmp_path, monkeypatch):
    save = interrupt.Stop.on_step_end

    def interrupted(self, args, state, control, **kwargs):
        self.asked = state.global_step == 3
        save(self, args, state, control, **kwargs)

    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path / "sft")]
    best = ["--save_total_limit", "1", "--load_best_model_at_end", "true", "--metric_for_best_model", "eval_loss"]
    monkeypatch.setattr(interrupt.Stop, "on_step_end", interrupted)
    assert stage(road, "sft", *parent, *best) == 1
    assert resume.last_step(tmp_path / "sft") == str(tmp_path / "sft/checkpoint-3")
    monkeypatch.setattr(interrupt.Stop, "on_step_end", save)
    assert stage(road, "sft", *parent, *best) == 0
    assert files.read_json(tmp_path / "sft/metrics.json")["resumed_from"].endswith("checkpoint-3")
    assert not (tmp_path / "sft/checkpoint-3").exists()


def test_reinforcement_stops_between_two_generations(road, tmp_path):
    trainer = prepared_grpo(road, tmp_path)
    stop = interrupt.Stop(grpo.between(trainer.args))
    stop.asked = True
    asked = []
    for step in (1, 2, 3, 4):
        trainer.state.global_step = step
        trainer.control.should_training_stop = False
        stop.on_step_end(trainer.args, trainer.state, trainer.control)
        asked.append(trainer.control.should_training_stop)
    assert asked == [False, True, False, True]


def argv(road: Path, output: Path, step: Path, *more: str) -> list[str]:
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(output)]
    return ["--config", str(road / "recipes/tiny/sft.yaml"), *parent, "--resume_from_checkpoint", str(step), *more]


def test_a_step_of_another_run_is_gone_on_from_with_a_word(road, steps, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(resume.logger, "propagate", True)
    step = steps / "checkpoint-2"
    _, run = sft.prepare(argv(road, tmp_path / "same", step))
    assert run.resume_from == str(step)
    assert "with other output_dir" in caplog.text
    _, run = sft.prepare(argv(road, tmp_path / "other", step, "--learning_rate", "0.5", "--seed", "7"))
    assert run.resume_from == str(step)
    assert f"going on from {step} with other output_dir, learning_rate, seed" in caplog.text


@pytest.mark.parametrize("content", [None, "[", "{}"])
def test_a_step_of_which_nothing_tells_is_gone_on_from_with_a_word(road, copy, tmp_path, caplog, monkeypatch, content):
    monkeypatch.setattr(resume.logger, "propagate", True)
    for name in ("recipe.yaml", "provenance.json"):
        (copy / name).unlink()
        if content:
            (copy / name).write_text(content)
    sft.prepare(argv(road, tmp_path / "other", copy / "checkpoint-2"))
    assert f"going on from {copy}/checkpoint-2 with other" in caplog.text
    assert ("recipe.yaml or provenance.json (there is none that can be read)" in caplog.text) is (content != "{}")


def test_a_step_is_not_gone_on_from_beside_newer_ones(road, copy):
    with pytest.raises(ValueError, match=r"checkpoint-4 in .* would be taken for later steps of this run: remove"):
        sft.prepare(argv(road, copy, copy / "checkpoint-2"))
    shutil.rmtree(copy / "checkpoint-4")
    _, run = sft.prepare(argv(road, copy, copy / "checkpoint-2"))
    assert run.resume_from == str(copy / "checkpoint-2")


def test_an_unsealed_step_has_the_random_state_of_each_process(copy):
    files.write_json(copy / "provenance.json", files.read_object(copy / "provenance.json") | {"processes": 2})
    step = copy / "checkpoint-4"
    (step / "seal.json").unlink()
    assert resume.fault(step) == "rng_state_0.pth is missing"
    for index in range(2):
        shutil.copy(step / "rng_state.pth", step / f"rng_state_{index}.pth")
    assert resume.fault(step) is None


def test_a_step_of_weights_alone_is_not_called_saved(road, tmp_path, monkeypatch, capsys):
    def interrupted(self, args, state, control, **kwargs):
        if state.global_step == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(resume.Seal, "on_step_begin", interrupted)
    assert stage(road, "sft", *argv(road, tmp_path / "sft", "false")[2:], "--save_only_model", "true") == 1
    said = capsys.readouterr().err
    assert "stopped at step 2 of 4, " in said
    assert "whose weights alone are saved (save_only_model): it cannot be gone on with" in said
    assert "the same command goes on" not in said


def test_a_step_of_another_stage_is_refused(road, steps, tmp_path, capsys):
    step = road / "checkpoints/tiny/pretrain/checkpoint-2"
    with pytest.raises(ValueError, match=f"{step} is a step of pretrain, not of sft: to start from its weights give"):
        sft.prepare(argv(road, tmp_path / "sft", step))
    more = ["--resume_from_checkpoint", str(steps / "checkpoint-2"), "--output_dir", str(tmp_path / "pretrain")]
    assert stage(road, "pretrain", *more) == 2
    assert f"{steps}/checkpoint-2 is a step of sft, not of pretrain" in capsys.readouterr().err
