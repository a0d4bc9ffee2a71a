"""The real command line, in subprocesses: a mistake ends in one line, the right status and no traceback."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write_recipes

from arith_hf import files
from arith_hf.__main__ import main

CPU = Path(__file__).parent.parent / "recipes/accelerate/cpu.yaml"
COMMAND = [sys.executable, "-m", "arith_hf"]
ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=ENVIRONMENT, check=False)


def recipe(road: Path, stage: str) -> list[str]:
    return ["--config", str(road / f"recipes/tiny/{stage}.yaml")]


def written(tmp: Path, name: str, text: str) -> str:
    path = tmp / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def foreign_corpus(road: Path, tmp: Path) -> str:
    """A corpus signed by a tokenizer that is not the road's."""
    shutil.copytree(road / "data/tiny", tmp / "foreign")
    manifest = files.read_json(tmp / "foreign/manifest.json")
    files.write_json(tmp / "foreign/manifest.json", manifest | {"tokenizer_fingerprint": "f" * 64})
    return str(tmp / "foreign")


def unfinished(road: Path, tmp: Path) -> str:
    shutil.copytree(road / "checkpoints/tiny/pretrain", tmp / "unfinished")
    (tmp / "unfinished/metrics.json").unlink()
    return str(tmp / "unfinished")


def cut_short(road: Path, tmp: Path) -> str:
    shutil.copytree(road / "checkpoints/tiny/pretrain", tmp / "cut")
    weights = tmp / "cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return str(tmp / "cut")


Case = Callable[[Path, Path], list[str]]
# name -> (arguments from the road and a folder of one's own, what the one line must say)
MISTAKES: dict[str, tuple[Case, str]] = {
    "no such verb": (lambda road, tmp: ["trian"], "unknown verb `trian`"),
    "no such recipe": (lambda road, tmp: ["sft", "--config", "recipes/none/sft.yaml"], "no recipe at"),
    "folder for recipe": (lambda road, tmp: ["sft", "--config", str(tmp)], "no recipe at"),
    "misspelt key in the recipe": (
        lambda road, tmp: ["corpus", "--config", written(tmp, "corpus.yaml", "max_dept: 3\n")],
        "did you mean `max_depth`?",
    ),
    "misspelt key on the command line": (
        lambda road, tmp: ["pretrain", *recipe(road, "pretrain"), "--learning_rat", "1"],
        "did you mean `learning_rate`?",
    ),
    "wrong type": (lambda road, tmp: ["corpus", *recipe(road, "corpus"), "--num_sft", "many"], "invalid int value"),
    "wrong choice": (
        lambda road, tmp: ["pretrain", *recipe(road, "pretrain"), "--optimizer", "moon"],
        "need `trainer` or `muon`",
    ),
    "wrong size": (lambda road, tmp: ["pretrain", *recipe(road, "pretrain"), "--size", "smal"], "small"),
    "range upside down": (
        lambda road, tmp: ["corpus", *recipe(road, "corpus"), "--num_range", "5", "3"],
        "num_range",
    ),
    "impossible depth": (lambda road, tmp: ["corpus", *recipe(road, "corpus"), "--max_depth", "0"], "max_depth"),
    "more problems than there are": (
        lambda road, tmp: [
            *["corpus", *recipe(road, "corpus"), "--output_dir", str(tmp / "d")],
            *["--max_depth", "1", "--num_range", "1", "2", "--num_test", "50"],
        ],
        "distinct problems",
    ),
    "missing checkpoint": (
        lambda road, tmp: ["sft", *recipe(road, "sft"), "--model_name_or_path", "checkpoints/none/pretrain"],
        "run make pretrain MODEL=none",
    ),
    "file for checkpoint": (
        lambda road, tmp: ["solve", "--checkpoint", str(road / "checkpoints/tiny/pretrain/config.json"), "1 + 2"],
        "need a checkpoint folder",
    ),
    "unfinished checkpoint": (
        lambda road, tmp: ["solve", "--checkpoint", unfinished(road, tmp), "1 + 2"],
        "unfinished",
    ),
    "weights cut short": (lambda road, tmp: ["solve", "--checkpoint", cut_short(road, tmp), "1 + 2"], "cut short"),
    "missing corpus": (
        lambda road, tmp: ["sft", *recipe(road, "sft"), "--dataset_name", "data/none"],
        "run `make corpus MODEL=none`",
    ),
    "wrong tokenizer": (
        lambda road, tmp: ["sft", *recipe(road, "sft"), "--dataset_name", foreign_corpus(road, tmp)],
        "f" * 64,
    ),
    "broken line": (
        lambda road, tmp: [
            *["sft", *recipe(road, "sft"), "--dataset_name"],
            written(tmp, "broken.jsonl", '{"prompt": "a", "completion": "b"}\n{"prompt": \n'),
        ],
        "broken.jsonl:2",
    ),
    "empty corpus": (
        lambda road, tmp: ["sft", *recipe(road, "sft"), "--dataset_name", written(tmp, "empty.jsonl", "\n")],
        "empty",
    ),
    "missing column": (
        lambda road, tmp: [
            *["sft", *recipe(road, "sft"), "--dataset_name"],
            written(tmp, "columns.jsonl", '{"prompt": "a"}\n{"prompt": "b"}\n'),
        ],
        "completion missing",
    ),
    "max_length too small": (
        lambda road, tmp: ["sft", *recipe(road, "sft"), "--output_dir", str(tmp / "s"), "--max_length", "20"],
        "max_length 20 cannot hold",
    ),
    "completions cut": (
        lambda road, tmp: [
            *["grpo", *recipe(road, "grpo"), "--model_name_or_path", str(road / "checkpoints/tiny/pretrain")],
            *["--output_dir", str(tmp / "g"), "--max_completion_length", "8"],
        ],
        "max_completion_length 8 cannot hold",
    ),
    "unknown character": (
        lambda road, tmp: ["solve", "--checkpoint", str(road / "checkpoints/tiny/pretrain"), "2 * 3"],
        "unknown character '*' at column 3",
    ),
    "nothing to resume": (
        lambda road, tmp: [
            *["pretrain", *recipe(road, "pretrain"), "--output_dir", str(tmp / "p")],
            *["--resume_from_checkpoint", "true"],
        ],
        "nothing to resume",
    ),
}


@pytest.fixture(scope="module")
def outcomes(road: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """(status, output, errors) of every mistake, each made in a process of its own (see warm.py)."""
    commands = {name: case(road, tmp_path_factory.mktemp("case")) for name, (case, _) in MISTAKES.items()}
    warm = [sys.executable, str(Path(__file__).with_name("warm.py"))]
    done = subprocess.run(
        warm, input=json.dumps(list(commands.values())), capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    return dict(zip(commands, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(outcomes, name):
    status, out, errors = outcomes[name]
    last = errors.strip().splitlines()[-1]
    assert status == 2, errors
    assert last.startswith("arith-hf")
    assert MISTAKES[name][1] in last
    assert "Traceback" not in out + errors


def test_a_mistake_in_a_fresh_process(road):
    done = run("sft", *recipe(road, "sft"), "--learning_rat", "1")
    assert done.returncode == 2
    assert "did you mean `learning_rate`?" in done.stderr


def test_debug_shows_the_traceback(capsys):
    assert main(["sft", "--config", "none.yaml", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_is_quick_and_light():
    started = time.perf_counter()
    done = run("--help")
    assert done.returncode == 0
    assert "pretrain" in done.stdout
    assert time.perf_counter() - started < 2


def test_help_of_a_verb_lists_its_keys():
    done = run("corpus", "--help")
    assert done.returncode == 0
    assert "--max_depth" in done.stdout
    assert "those of another: --task expression, addition or text" in " ".join(done.stdout.split())


def test_help_of_evaluate_says_where_the_keys_of_text_are_listed():
    recipe = str(Path(__file__).parents[1] / "recipes/text-small/evaluate.yaml")
    said = [run("evaluate", *more, "--help").stdout for more in ((), ("--config", recipe))]
    assert "those of natural text: --config recipes/text-small/evaluate.yaml" in " ".join(said[0].split())
    assert ["--context_length" in one for one in said] == [False, True]


def test_a_full_disk_leaves_nothing_that_looks_finished(tmp_path):
    """Files may grow to 20 KB, as on a disk that fills up."""
    write_recipes(tmp_path)
    command = " ".join([*COMMAND, "corpus", "--config", str(tmp_path / "recipes/tiny/corpus.yaml")])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 20; exec {command}"], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data/tiny/manifest.json").exists()
    assert not list((tmp_path / "data/tiny").glob("**/*.part"))


def test_an_interrupt_leaves_an_unfinished_run_that_the_same_command_finishes(road, tmp_path):
    folder = tmp_path / "pretrain"
    command = ["pretrain", *recipe(road, "pretrain"), "--output_dir", str(folder), "--max_steps", "100"]
    command += ["--eval_strategy", "no", "--save_steps", "5"]
    child = subprocess.Popen(
        [*COMMAND, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    )
    while not list(folder.glob("checkpoint-*/trainer_state.json")) and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert child.returncode == 1, said.decode()
    assert re.search(rb"arith-hf pretrain: stopped at step \d+ of 100, which is saved", said)
    assert b"Traceback" not in said
    assert not (folder / "metrics.json").exists()
    assert main(command) == 0
    assert files.read_json(folder / "metrics.json")["resumed_from"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain", "sft", "lora", "grpo"])
def test_accelerate_launches_a_stage_with_an_override(road, tmp_path, stage):
    verb = "sft" if stage == "lora" else stage
    parent = [] if stage == "pretrain" else ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain")]
    launch = [str(Path(sys.executable).with_name("accelerate")), "launch", "--config_file", str(CPU), "-m", "arith_hf"]
    override = ["--output_dir", str(tmp_path), "--max_steps", "2"]
    command = [*launch, verb, *recipe(road, stage), *parent, *override]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert files.read_json(tmp_path / "metrics.json")["steps"] == 2


@pytest.mark.parametrize("code", [0, 2, None, "bye"])
def test_a_verb_that_leaves_the_program_has_failed(monkeypatch, capsys, code):
    def leave(arguments):
        sys.exit(code)

    monkeypatch.setattr("arith_hf.solve.main", leave)
    assert main(["solve"]) == 1
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert f"called sys.exit({code!r}) before the work was done" in said
