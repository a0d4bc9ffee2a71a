"""Push and pull over HTTP, by the real command line in processes of its own, against a stand-in for the Hub."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PROBLEMS
from hub_server import TOKEN, HubServer, serve
from huggingface_hub import ModelCard

from arith_hf import files, hub, solver

REPORT = {
    "checkpoint": "checkpoints/tiny/sft",
    "parameters": 12345,
    "seed": 0,
    "command": "arith-hf evaluate --checkpoint checkpoints/tiny/sft",
    "data": {"path": "data/tiny", "sha256": "0" * 64},
    "protocols": {
        "nontrivial": {
            "protocol": "deduplicated problems, greedy",
            "n": 1000,
            "exact_match": 0.912,
            "exact_match_interval": [0.8929, 0.928],
            "parse_rate": 0.99,
            "parse_rate_interval": [0.9817, 0.9946],
            "mean_tokens": 88.5,
        }
    },
}


@pytest.fixture
def server() -> Iterator[HubServer]:
    with serve() as running:
        yield running


@pytest.fixture
def finished(pupil: Path, tmp_path: Path) -> Path:
    """The pupil as a finished stage with measured numbers, and with what must never be published beside it."""
    path = Path(shutil.copytree(pupil, tmp_path / "sft"))
    (path / "recipe.yaml").write_text("learning_rate: 1.0e-3\n")
    files.write_json(path / "evaluate.json", REPORT)
    (path / "README.md").write_text("---\nbase_model: checkpoints/tiny/pretrain\ntags: [sft]\n---\n# Its own words\n")
    for unwanted in ("training_args.bin", "checkpoint-4/optimizer.pt", "runs/events.out", "samples.jsonl"):
        (path / unwanted).parent.mkdir(exist_ok=True)
        (path / unwanted).write_text("no")
    files.write_json(path / "metrics.json", {"stage": "sft"})
    return path


def arith_hf(endpoint: str, *arguments: str, token: str = TOKEN, **settings: str) -> subprocess.CompletedProcess:
    """The real command, in a process whose Hub is `endpoint`."""
    home = {"HF_HOME": os.environ.get("HF_HOME", ""), "HF_TOKEN": token} if token else {}
    environment = os.environ | home | {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-m", "arith_hf", *arguments],
        env={key: value for key, value in (environment | settings).items() if value},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_pushed_checkpoint_comes_back_and_answers_alike(server: HubServer, finished: Path, tmp_path: Path) -> None:
    before = sorted(finished.rglob("*"))
    for _ in range(2):  # a repo that exists is written again
        done = arith_hf(server.url, "push", "--checkpoint", str(finished), "--repo_id", "ada/tiny")
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"pushed {finished} to {server.url}/ada/tiny"
    assert sorted(finished.rglob("*")) == before, "the folder is only read"
    published = server.repos["ada/tiny"][-1][1]
    assert set(published) == {
        *("README.md", "config.json", "configuration_arith.py", "evaluate.json", "generation_config.json"),
        *("metrics.json", "model.safetensors", "modeling_arith.py", "provenance.json", "recipe.yaml"),
        *("tokenizer.json", "tokenizer_config.json"),
    }

    target = tmp_path / "pulled"
    done = arith_hf(server.url, "pull", "ada/tiny", "--output_dir", str(target), token="")
    assert done.returncode == 0, done.stderr
    assert {one.name for one in target.iterdir()} == set(published)
    here, there = (solver.Solver.from_pretrained(path).solve(list(PROBLEMS)) for path in (finished, target))
    assert here == there

    done = arith_hf(server.url, "pull", "ada/tiny", "--output_dir", str(target))
    assert (done.returncode, "--overwrite" in done.stderr) == (2, True)
    first = server.repos["ada/tiny"][1][0]
    again = ("pull", "ada/tiny", "--output_dir", str(target), "--overwrite", "--revision")
    assert arith_hf(server.url, *again, first).returncode == 0
    done = arith_hf(server.url, *again, "no-such-branch")
    assert (done.returncode, "no such revision" in done.stderr) == (2, True)
    assert (target / "model.safetensors").is_file(), "what failed leaves what was there"


def test_the_card_carries_the_numbers_and_keeps_the_trainers_words(finished: Path) -> None:
    card = hub.card(finished, "ada/tiny")
    for said in ("91.20%", "89.29% to 92.80%", "1000", REPORT["command"], "learning_rate: 1.0e-3", "Its own words"):
        assert said in card.text, said
    (found, _) = card.data.eval_results
    assert (found.metric_type, found.metric_value) == ("exact_match", 0.912)
    assert card.data.base_model is None, "a folder of this machine is no model of the Hub"
    assert "sft" in card.data.tags
    read = ModelCard(str(card))
    assert read.data.eval_results[0].metric_value == 0.912

    (finished / "README.md").write_text(str(card))
    again = hub.card(finished, "ada/other")
    assert again.text.count(hub.BEGIN) == again.text.count("Its own words") == 1, "a second push replaces, not adds"
    assert "ada/other" in again.text


def test_a_checkpoint_that_was_not_measured_says_so(pupil: Path) -> None:
    assert "Not measured" in hub.card(pupil, "ada/tiny").text


def test_the_usage_on_the_card_runs(pupil: Path, tmp_path: Path) -> None:
    code = hub.usage(str(pupil), is_adapter=False).split("```")[1].removeprefix("python\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert "Final Result: 12" in done.stdout, done.stderr


def test_a_private_repo_needs_the_token(server: HubServer, finished: Path, tmp_path: Path) -> None:
    pushed = arith_hf(server.url, "push", "--checkpoint", str(finished), "--repo_id", "ada/own", "--private")
    assert (pushed.returncode, server.private) == (0, {"ada/own"})
    pull = ("pull", "ada/own", "--output_dir", str(tmp_path / "pulled"))
    done = arith_hf(server.url, *pull, token="")
    assert (done.returncode, "no repo ada/own" in done.stderr) == (2, True)
    assert arith_hf(server.url, *pull).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "said"),
    [
        (("push", "CHECKPOINT", "--repo_id", "ada/tiny"), {"HF_TOKEN": "hf_wrong"}, 2, "refuses the token"),
        (("push", "CHECKPOINT", "--repo_id", "ada/tiny"), {"HF_TOKEN": ""}, 2, "refuses the token"),
        (("push", "CHECKPOINT", "--repo_id", "bob/tiny"), {}, 2, "may not write to bob/tiny"),
        (("push", "CHECKPOINT", "--repo_id", "tiny"), {}, 2, "user/name"),
        (("push", "CHECKPOINT", "--repo_id", "ada/a b"), {}, 2, "user/name"),
        (("push", "CHECKPOINT", "--repo_id", "ada/tiny"), {"HF_HUB_OFFLINE": "1"}, 1, "HF_HUB_OFFLINE"),
        (("push", "CHECKPOINT", "--repo_id", "ada/tiny"), {"HF_ENDPOINT": "CLOSED"}, 1, "cannot reach"),
        (("push", "--checkpoint", "checkpoints/tiny/none", "--repo_id", "ada/tiny"), {}, 2, "make none MODEL=tiny"),
        (("pull", "ada/none", "--output_dir", "OUT"), {}, 2, "no repo ada/none"),
        (("pull", "ada/none", "--output_dir", "OUT"), {"HF_TOKEN": "hf_wrong"}, 2, "refuses the token"),
        (("pull", "ada/none", "--output_dir", "OUT"), {"HF_HUB_OFFLINE": "1"}, 1, "HF_HUB_OFFLINE"),
        (("pull", "ada/none", "--output_dir", "OUT"), {"HF_ENDPOINT": "CLOSED"}, 1, "cannot reach"),
        (("pull", "none", "--output_dir", "OUT"), {}, 2, "user/name"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    server: HubServer, pupil: Path, tmp_path: Path, arguments: tuple, settings: dict, status: int, said: str
) -> None:
    with socket.socket() as free:  # a port that nobody listens on
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        given = [one.replace("OUT", str(tmp_path / "pulled")) for one in arguments]
        if "CHECKPOINT" in given:
            place = given.index("CHECKPOINT")
            given[place : place + 1] = ["--checkpoint", str(pupil)]
        done = arith_hf(server.url, *given, **{key: value.replace("CLOSED", closed) for key, value in settings.items()})
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir()), "no folder, no half of one"
    assert not server.repos


def test_what_does_not_load_is_not_kept(server: HubServer, finished: Path, tmp_path: Path) -> None:
    assert arith_hf(server.url, "push", "--checkpoint", str(finished), "--repo_id", "ada/tiny").returncode == 0
    published = server.repos["ada/tiny"][-1][1]
    published["model.safetensors"] = published["model.safetensors"][:-8]
    done = arith_hf(server.url, "pull", "ada/tiny", "--output_dir", str(tmp_path / "pulled"))
    assert (done.returncode, "ada/tiny/model.safetensors is broken" in done.stderr) == (1, True), done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["sft"]
