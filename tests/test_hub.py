"""Push and pull over HTTP, by the real command line in processes of its own, against a stand-in for the Hub."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PROBLEMS
from hub_server import TOKEN, HubServer, serve
from huggingface_hub import ModelCard, constants

from arith_hf import files, hub, notation, solver
from arith_hf.__main__ import main

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


def arith_hf(endpoint: str, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess:
    """The real command, in a process whose Hub is `endpoint`."""
    settings = {"HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-m", "arith_hf", *arguments],
        env={key: value for key, value in (os.environ | settings).items() if value},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def here(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The same command in this process, which is quicker: exit status; what it says is captured."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)  # made of the endpoint at import
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return lambda *arguments: main(list(arguments))


def test_a_pushed_checkpoint_comes_back_and_answers_alike(server: HubServer, finished: Path, tmp_path: Path) -> None:
    before = sorted(finished.rglob("*"))
    done = arith_hf(server.url, "push", "--checkpoint", str(finished), "--repo_id", "ada/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"pushed {finished} to {server.url}/ada/tiny"
    assert sorted(finished.rglob("*")) == before, "the folder is only read"
    published = server.repos["ada/tiny"][-1][1]
    assert set(published) == {
        *("README.md", "config.json", "configuration_arith.py", "evaluate.json", "generation_config.json"),
        *("lines_arith.py", "metrics.json", "model.safetensors", "modeling_arith.py", "provenance.json", "recipe.yaml"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    target = tmp_path / "pulled"
    done = arith_hf(server.url, "pull", "ada/tiny", "--output_dir", str(target), token="")
    assert done.returncode == 0, done.stderr
    assert {one.name for one in target.iterdir()} == set(published)
    mine, theirs = (solver.Solver.from_pretrained(path).solve(list(PROBLEMS)) for path in (finished, target))
    assert mine == theirs


def test_pushing_and_pulling_again(
    server: HubServer, here: Callable[..., int], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for _ in range(2):  # a repo that exists is written again
        assert here("push", "--checkpoint", str(finished), "--repo_id", "ada/tiny") == 0
    target = tmp_path / "pulled"
    pull = ("pull", "ada/tiny", "--output_dir", str(target))
    assert [here(*pull), here(*pull)] == [0, 2]
    assert "--overwrite" in capsys.readouterr().err
    assert here(*pull, "--overwrite", "--revision", server.repos["ada/tiny"][1][0]) == 0
    assert here(*pull, "--overwrite", "--revision", "no-such-branch") == 2
    assert "no such revision" in capsys.readouterr().err
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


@pytest.mark.slow
def test_the_usage_on_the_card_runs(pupil: Path, tmp_path: Path) -> None:
    code = hub.usage(str(pupil), False, notation.of("expression")).split("```")[1].removeprefix("python\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert "Final Result: 12" in done.stdout, done.stderr


def test_a_private_repo_needs_the_token(
    server: HubServer, here: Callable[..., int], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here("push", "--checkpoint", str(finished), "--repo_id", "ada/own", "--private") == 0
    assert server.private == {"ada/own"}
    pull = ("pull", "ada/own", "--output_dir", str(tmp_path / "pulled"))
    assert here(*pull) == 0
    monkeypatch.setenv("HF_TOKEN", "")
    assert here(*pull, "--overwrite") == 2


def test_private_is_not_taken_for_granted(
    server: HubServer, here: Callable[..., int], finished: Path, capsys: pytest.CaptureFixture
) -> None:
    push = ("push", "--checkpoint", str(finished), "--repo_id", "ada/open")
    assert here(*push) == 0
    commits = len(server.repos["ada/open"])
    assert here(*push, "--private") == 2
    assert "exists and is public" in capsys.readouterr().err
    assert len(server.repos["ada/open"]) == commits


PUSH = ("push", "--checkpoint", "CHECKPOINT", "--repo_id")
PULL = ("pull", "ada/none", "--output_dir", "OUT")


@pytest.mark.parametrize(
    ("arguments", "token", "status", "said"),
    [
        ((*PUSH, "ada/tiny"), "hf_wrong", 2, "refuses the token"),
        ((*PUSH, "ada/tiny"), "", 2, "refuses the token"),
        ((*PUSH, "bob/tiny"), TOKEN, 2, "may not write to bob/tiny"),
        ((*PUSH, "tiny"), TOKEN, 2, "user/name"),
        ((*PUSH, "ada/a b"), TOKEN, 2, "user/name"),
        ((*PUSH, "ada/tiny", "--privat"), TOKEN, 2, "--privat"),
        (("push", "--checkpoint", "checkpoints/tiny/none", "--repo_id", "ada/x"), TOKEN, 2, "make none MODEL=tiny"),
        (PULL, TOKEN, 2, "no repo ada/none"),
        (PULL, "hf_wrong", 2, "refuses the token"),
        (("pull", "none", "--output_dir", "OUT"), TOKEN, 2, "user/name"),
        (("pull", "ada/none"), TOKEN, 2, "--output_dir"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    server: HubServer,
    here: Callable[..., int],
    pupil: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    arguments: tuple[str, ...],
    token: str,
    status: int,
    said: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    places = {"OUT": str(tmp_path / "pulled"), "CHECKPOINT": str(pupil)}
    assert here(*(places.get(one, one) for one in arguments)) == status
    (error,) = capsys.readouterr().err.splitlines()
    assert said in error
    assert error.startswith(f"arith-hf {arguments[0]}: ")
    assert not list(tmp_path.iterdir()), "no folder, no half of one"
    assert not server.repos


def test_without_a_network_and_switched_off(
    here: Callable[..., int],
    pupil: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    verbs = (("push", "--checkpoint", str(pupil), "--repo_id", "ada/x"), ("pull", "ada/x", "--output_dir", "OUT"))
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:  # a port that nobody listens on
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert [here(*verb) for verb in verbs] == [1, 1]
        assert capsys.readouterr().err.count("cannot reach http://127.0.0.1") == 2
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert [here(*verb) for verb in verbs] == [1, 1]
    assert capsys.readouterr().err.count("HF_HUB_OFFLINE=0") == 2
    assert not list(tmp_path.iterdir())


def test_what_does_not_load_is_not_kept(
    server: HubServer, here: Callable[..., int], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert here("push", "--checkpoint", str(finished), "--repo_id", "ada/tiny") == 0
    published = server.repos["ada/tiny"][-1][1]
    published["model.safetensors"] = published["model.safetensors"][:-8]
    assert here("pull", "ada/tiny", "--output_dir", str(tmp_path / "pulled")) == 1
    assert "ada/tiny/model.safetensors is broken" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["sft"]
