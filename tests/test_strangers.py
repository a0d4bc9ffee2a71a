"""Checkpoints from strangers: no pickle is opened, no code of theirs is run, no path leads out of their folder."""

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hub_server import HubServer, serve
from huggingface_hub import constants

from arith_hf import checkpoint, files, hub, tokenizer
from arith_hf.model import ArithConfig, ArithForCausalLM


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that has learned nothing."""
    path = tmp_path_factory.mktemp("strangers") / "model"
    own = tokenizer.train("digits")
    special = {f"{name}_token_id": getattr(own, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    ArithForCausalLM(ArithConfig.from_size("tiny", vocab_size=len(own), **special)).save_pretrained(path)
    own.save_pretrained(path)
    return path


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "model"))


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.write_text, (self.path, "run"))


def edit(path: Path, **changed: object) -> None:
    files.write_json(path, {**files.read_json(path), **changed})


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "pytorch_model-00001-of-00002.bin"])
def test_a_pickle_is_refused_unopened(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(pickle.dumps(Trap(tmp_path / "run.txt")))
    with pytest.raises(ValueError, match=f"need safetensors, got the pickle {name}, which may run code"):
        checkpoint.load(copy)
    assert not (tmp_path / "run.txt").exists()


def test_a_pickle_beside_the_weights_is_left_alone(copy: Path, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (copy / name).write_bytes(pickle.dumps(Trap(tmp_path / "run.txt")))
    checkpoint.load(copy)
    assert not (tmp_path / "run.txt").exists()


def test_a_pickle_named_as_safetensors_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "run.txt")))
    with pytest.raises(ValueError, match=r"model\.safetensors is broken"):
        checkpoint.load(copy)
    torch.save({"a": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is broken"):
        checkpoint.load(copy)
    assert not (tmp_path / "run.txt").exists()


def test_code_of_the_folder_is_not_run(copy: Path, tmp_path: Path) -> None:
    """Not where it stands under our own model's name, nor where no one else knows the model."""
    code = f"open({str(tmp_path / 'run.txt')!r}, 'w').write('run')\n"
    for path in (*copy.glob("*.py"), copy / "evil.py", copy / "__init__.py", copy / "sitecustomize.py"):
        path.write_text(code)
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM")
    edit(copy / "config.json", auto_map=dict.fromkeys(names, "evil.Evil"))
    edit(copy / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    model, _ = checkpoint.load(copy)
    assert isinstance(model, ArithForCausalLM)
    edit(copy / "config.json", model_type="evil")
    with pytest.raises(ValueError, match=r"cannot load|cannot read"):
        checkpoint.load(copy)
    assert not (tmp_path / "run.txt").exists()


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/model.safetensors", "sub/../../x.safetensors", "a\\b", "", 5, None]
)
def test_an_index_names_files_of_its_folder_alone(copy: Path, name: object) -> None:
    shutil.copy(copy / "model.safetensors", copy.parent / "outside.safetensors")
    (copy / "model.safetensors").unlink()
    files.write_json(copy / "model.safetensors.index.json", {"metadata": {}, "weight_map": {"model.norm.weight": name}})
    with pytest.raises(ValueError, match=r"index\.json: need the names of files beside it, got"):
        checkpoint.load(copy)


@pytest.mark.parametrize("content", ["[]", '{"weight_map": []}', "{}", "5", "{"])
def test_an_index_that_is_none(copy: Path, content: str) -> None:
    (copy / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"index\.json"):
        checkpoint.load(copy)


JSONS = (
    "config.json",
    "tokenizer_config.json",
    "metrics.json",
    "provenance.json",
    "generation_config.json",
    "tokenizer.json",
)


@pytest.mark.parametrize("name", JSONS)
@pytest.mark.parametrize("content", [b"[]", b"[1]", b"5", b"null", b"{", b"\xff", b"\0", b"[" * 100_000, b""])
def test_json_that_is_no_object_is_named(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    with pytest.raises((ValueError, OSError), match=copy.name):
        checkpoint.load(copy)


@pytest.mark.parametrize("task", ["none", "addition/columns/think_length=999999999999", 5, ["x"], {"a": 1}])
def test_a_task_that_no_one_knows(copy: Path, task: object) -> None:
    edit(copy / "tokenizer_config.json", task=task)
    with pytest.raises(ValueError, match=r"task|form|option|think_length"):
        checkpoint.form_of(copy)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"base_model_name_or_path": ["x"]}, "names no base model"),
        ({"base_model_name_or_path": "\0"}, "no base model at"),
        ({"peft_type": "PROMPT_TUNING"}, "need a LoRA adapter, got PROMPT_TUNING"),
        ({"peft_type": None}, "need a LoRA adapter, got None"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "megatron_config"),
    ],
)
def test_an_adapter_of_another_kind(copy: Path, changed: dict, said: str) -> None:
    adapter = copy.parent / "adapter"
    adapter.mkdir()
    known = {"peft_type": "LORA", "base_model_name_or_path": str(copy), "r": 2, "target_modules": ["q_proj"]}
    files.write_json(adapter / "adapter_config.json", known | changed)
    shutil.copy(copy / "model.safetensors", adapter / "adapter_model.safetensors")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        checkpoint.load(adapter)


def test_adapters_that_lead_to_one_another(copy: Path) -> None:
    folders = [copy.parent / name for name in ("one", "two")]
    for folder, other in zip(folders, folders[::-1], strict=True):
        folder.mkdir()
        files.write_json(folder / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": str(other)})
        shutil.copy(copy / "model.safetensors", folder / "adapter_model.safetensors")
    for read in (checkpoint.load, checkpoint.form_of):
        with pytest.raises(ValueError, match=r"names the adapter .* as its base: merge that one first"):
            read(folders[0])


def test_more_layers_than_weights_are_not_made(copy: Path) -> None:
    edit(copy / "config.json", num_hidden_layers=10**9)
    with pytest.raises(ValueError, match=r"config\.json speaks of 1000000000 layers, the weights are"):
        checkpoint.load(copy)


WRONG = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "adapter_model.safetensors")


@pytest.mark.parametrize("name", WRONG[:3])
def test_a_folder_in_the_place_of_a_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises((ValueError, OSError), match=copy.name):
        checkpoint.load(copy)


# The Hub


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serve() as running:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, running.url)
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


@pytest.fixture
def publish(server: HubServer, made: Path) -> Callable[..., None]:
    """Put the checkpoint into the repo `eve/tiny`, with other files beside it."""

    def put(**more: bytes) -> None:
        server.repos["eve/tiny"] = [("0" * 40, {one.name: one.read_bytes() for one in made.iterdir()} | more)]

    return put


NAMES = ("../evil.py", "/tmp/evil.py", "a/../../evil.py", "..\\evil.py", "sub/evil.py", "C:\\evil.py", "./evil.py")


@pytest.mark.parametrize("name", NAMES)
def test_only_files_of_the_repos_own_folder_are_fetched(publish: Callable, tmp_path: Path, name: str) -> None:
    publish(**{name: b"evil"})
    target = hub.pull("eve/tiny", tmp_path / "deep" / "pulled")
    found = [one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if one.is_file()]
    assert target == tmp_path / "deep" / "pulled"
    assert not [one for one in found if "evil" in one or not one.startswith("deep/pulled/")], found


def test_what_a_pulled_index_names_outside_is_refused(publish: Callable, server: HubServer, tmp_path: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "../../secret.safetensors"}}
    publish(**{"model.safetensors.index.json": json.dumps(index).encode()})
    with pytest.raises(RuntimeError, match="need the names of files beside it"):
        hub.pull("eve/tiny", tmp_path / "pulled")
    assert not list(tmp_path.iterdir())


def test_a_recipe_of_a_pulled_repo_leads_nowhere(publish: Callable, tmp_path: Path) -> None:
    """It is kept to be read by people: no path in it is followed, and its tags make nothing."""
    recipe = f"output_dir: ../../..\nx: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'run.txt'}]\n"
    publish(**{"recipe.yaml": recipe.encode(), "metrics.json": b"{}"})
    target = hub.pull("eve/tiny", tmp_path / "pulled")
    checkpoint.load(target)
    hub.card(target, "ada/tiny")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["pulled"]
