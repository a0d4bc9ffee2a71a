"""Checkpoints: every kind loads, what is wrong is said in one line, merging and exporting keep the logits."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import PROBLEMS
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, LlamaForCausalLM, Qwen3ForCausalLM

from arith_hf import checkpoint, copies, files, provenance, solver, tokenizer
from arith_hf.__main__ import main
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.notation import expression as notation

IDS = torch.tensor([[2, 10, 11, 12, 13, 14, 20, 21]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.fixture
def copy(pupil: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pupil, tmp_path / "checkpoints" / "tiny" / "sft"))


@pytest.fixture
def adapter(copy: Path) -> Path:
    """A LoRA adapter beside its base, as the stage `lora` leaves it; the base is named as from the project's folder."""
    model, known = checkpoint.load(copy)
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    path = copy.parent / "lora" / "adapter"
    adapted.save_pretrained(path)
    known.save_pretrained(path)
    name_base(path, "checkpoints/tiny/sft")
    shutil.copy(copy / "provenance.json", path)
    return path


def name_base(adapter: Path, base: str | None) -> None:
    config = files.read_json(adapter / "adapter_config.json")
    files.write_json(adapter / "adapter_config.json", {**config, "base_model_name_or_path": base})


def test_a_full_checkpoint_of_ours_loads_exactly(copy: Path) -> None:
    model, known = checkpoint.load(copy)
    assert isinstance(model, ArithForCausalLM)
    assert not model.training
    stock = AutoModelForCausalLM.from_pretrained(copy, trust_remote_code=False)
    assert torch.equal(logits(model), logits(stock))
    assert tokenizer.fingerprint(known) == model.config.tokenizer_fingerprint


def test_any_architecture_loads(copy: Path, tmp_path: Path) -> None:
    _, known = checkpoint.load(copy)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    for config in (
        LlamaConfig(vocab_size=len(known), **shape),
        GPT2Config(vocab_size=len(known), n_embd=8, n_layer=1, n_head=1),
    ):
        path = tmp_path / config.model_type
        AutoModelForCausalLM.from_config(config).save_pretrained(path, max_shard_size="8KB")
        known.save_pretrained(path)
        model, _ = checkpoint.load(path)
        assert (model.config.model_type, len(list(path.glob("*.safetensors"))) > 1) == (config.model_type, True)


def test_an_adapter_finds_its_base_from_anywhere(
    adapter: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    model, _ = checkpoint.load(adapter)
    assert isinstance(model, PeftModel)
    (adapter / "tokenizer.json").unlink()
    (adapter / "tokenizer_config.json").unlink()
    _, known = checkpoint.load(adapter)
    assert len(known) == len(checkpoint.load_tokenizer(adapter.parents[1] / "sft")), "the base's own, if it has none"


def test_merging_keeps_the_logits(adapter: Path, copy: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    assert main(["merge", "--checkpoint", str(adapter), "--output_dir", str(target)]) == 0
    adapted, merged = checkpoint.load(adapter)[0], checkpoint.load(target)[0]
    assert isinstance(merged, ArithForCausalLM)
    torch.testing.assert_close(logits(merged), logits(adapted), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits(merged), logits(checkpoint.load(copy)[0]))
    provenance = files.read_json(target / "provenance.json")
    assert (provenance["stage"], provenance["parent"]) == ("merge", str(adapter))
    assert (target / "modeling_arith.py").is_file(), "it travels with its code"
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == [], "nothing is left beside it"


@pytest.mark.parametrize(("qk_norm", "stock"), [(False, LlamaForCausalLM), (True, Qwen3ForCausalLM)])
def test_export_gives_a_stock_model_with_the_same_logits(
    copy: Path, tmp_path: Path, qk_norm: bool, stock: type
) -> None:
    torch.manual_seed(0)
    _, known = checkpoint.load(copy)
    ours = ArithForCausalLM(ArithConfig.from_size("tiny", vocab_size=len(known), qk_norm=qk_norm))
    ours.save_pretrained(copy)
    target = tmp_path / "stock"
    assert main(["export", "--checkpoint", str(copy), "--output_dir", str(target)]) == 0
    assert not list(target.glob("*.py"))
    assert "auto_map" not in files.read_json(target / "config.json")
    model = AutoModelForCausalLM.from_pretrained(target)
    assert type(model) is stock
    assert torch.equal(logits(model), logits(ours))
    assert type(checkpoint.load(target)[0]) is stock


def test_an_exported_model_runs_without_our_package(copy: Path, tmp_path: Path) -> None:
    copies.export(copy, tmp_path / "stock")
    code = (
        "import sys; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T;"
        "t, m = T.from_pretrained('stock'), M.from_pretrained('stock');"
        f"x = t({notation.ask('5 + (10 - 3)')!r}, return_tensors='pt');"
        "print(t.decode(m.generate(**x, max_new_tokens=100)[0], skip_special_tokens=True));"
        "assert not any(name.startswith('arith_hf') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("Final Result: 12\n"), done.stderr


def test_an_adapter_exports_merged(adapter: Path, tmp_path: Path) -> None:
    exported, _ = checkpoint.load(copies.export(adapter, tmp_path / "stock"))
    torch.testing.assert_close(logits(exported), logits(checkpoint.load(adapter)[0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("position_embedding", ["learned", "none"])
def test_export_refuses_what_no_stock_model_has(
    copy: Path, tmp_path: Path, position_embedding: str, capsys: pytest.CaptureFixture
) -> None:
    config = files.read_json(copy / "config.json")
    files.write_json(copy / "config.json", {**config, "position_embedding": position_embedding})
    assert main(["export", "--checkpoint", str(copy), "--output_dir", str(tmp_path / "stock")]) == 2
    assert f"position_embedding: {position_embedding}" in capsys.readouterr().err
    assert not (tmp_path / "stock").exists()


def test_export_and_merge_refuse_what_needs_neither(copy: Path, tmp_path: Path) -> None:
    stock = copies.export(copy, tmp_path / "stock")
    with pytest.raises(ValueError, match="got llama: it needs no export"):
        copies.export(stock, tmp_path / "again")
    with pytest.raises(ValueError, match="need a LoRA adapter"):
        copies.merge(copy, tmp_path / "merged")


def test_nothing_is_overwritten_in_silence(adapter: Path, copy: Path, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"give --overwrite|is not a checkpoint"):
            copies.merge(adapter, occupied, overwrite)
    assert (occupied / "thesis.txt").read_text() == "years of work"
    copies.merge(adapter, tmp_path / "merged")
    with pytest.raises(FileExistsError, match="--overwrite"):
        copies.merge(adapter, tmp_path / "merged")
    copies.merge(adapter, tmp_path / "merged", overwrite=True)
    shutil.copy(copy / "config.json", adapter.parent)
    with pytest.raises(ValueError, match="outside of the checkpoint"):
        copies.merge(adapter, adapter.parent, overwrite=True)
    with pytest.raises(NotADirectoryError, match="got the file"):
        copies.merge(adapter, occupied / "thesis.txt")


def test_a_failed_write_leaves_the_old_folder(copy: Path) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise OSError("disk full")

    before = {one: one.read_bytes() for one in copy.iterdir()}
    with pytest.raises(OSError, match="disk full"):
        copies.publish(copy, fail)
    assert {one: one.read_bytes() for one in copy.iterdir()} == before
    assert [one.name for one in copy.parent.iterdir()] == ["sft"]


def truncate(path: Path) -> None:
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:-100])


def scribble(path: Path) -> None:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[5:40] = b"\xff" * 35
    (path / "model.safetensors").write_bytes(data)


def swap_tokenizer(path: Path) -> None:
    tokenizer.train("char", [], 0).save_pretrained(path)


def drop_weight(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})


def pickle_weights(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def foreign_code(path: Path) -> None:
    config = files.read_json(path / "config.json")
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    files.write_json(path / "config.json", config)
    (path / "evil.py").write_text("raise SystemExit('code of the folder was run')")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: shutil.rmtree(path), "no checkpoint at .*/sft: run make sft MODEL=tiny"),
        (lambda path: (path / "recipe.yaml").write_text(""), "unfinished .* run make sft MODEL=tiny"),
        (lambda path: (path / "model.safetensors").unlink(), "no weights in .*model.safetensors missing.*make sft"),
        (lambda path: (path / "config.json").unlink(), "config.json missing"),
        (lambda path: (path / "config.json").write_text("{"), "config.json|JSON"),
        (lambda path: (path / "model.safetensors").write_bytes(b""), "model.safetensors is broken or cut short"),
        (lambda path: (path / "tokenizer.json").write_text("{"), "cannot read the tokenizer"),
        (
            lambda path: [one.unlink() for one in path.glob("tokenizer*")],
            "no tokenizer in .*run make sft MODEL=tiny",
        ),
        (lambda path: (path / "provenance.json").write_text("[1"), "provenance.json:1"),
        (lambda path: (path / "provenance.json").write_text("[1]"), "provenance.json: need a JSON object, got list"),
        (truncate, "model.safetensors is broken or cut short .*make sft MODEL=tiny"),
        (scribble, "model.safetensors is broken or cut short"),
        (swap_tokenizer, "[0-9a-f]{64}.*[0-9a-f]{64}: run make sft MODEL=tiny"),
        (drop_weight, "do not belong together: .*model.norm.weight"),
        (pickle_weights, "got the pickle pytorch_model.bin"),
        (foreign_code, "cannot load the"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(copy: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(copy)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        checkpoint.load(copy)


def test_other_places(copy: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"got the file .*did you mean .*sft"):
        checkpoint.load(copy / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="arith-hf pull ada/tiny --output_dir checkpoints/tiny"):
        checkpoint.load("ada/tiny")
    with pytest.raises(FileNotFoundError, match="run make grpo MODEL=nowhere"):
        checkpoint.load("checkpoints/nowhere/grpo")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_digit_in_what_decides_beside_the_weights(copy: Path, name: str) -> None:
    path = copy / name
    files.write_json(copy / "metrics.json", provenance.signature(copy))
    checkpoint.load(copy)
    path.write_text(path.read_text().replace("}", " }", 1))
    with pytest.raises(ValueError, match=f"{name} is not what the stage saved"):
        checkpoint.load(copy)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing, which the stage saved"):
        checkpoint.load(copy)


def test_an_adapter_beside_a_full_model_is_not_put_on_top(adapter: Path, copy: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, copy / name)
    (copy / "metrics.json").unlink(missing_ok=True)
    (copy / "recipe.yaml").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"has both config.json and adapter_config.json"):
        checkpoint.load(copy)


def test_an_adapter_without_its_base_or_on_another(adapter: Path, copy: Path) -> None:
    name_base(adapter, "checkpoints/gone/sft")
    with pytest.raises(FileNotFoundError, match=r"no base model at checkpoints/gone/sft.*make sft MODEL=gone"):
        checkpoint.load(adapter)
    name_base(adapter, None)
    with pytest.raises(ValueError, match="names no base model"):
        checkpoint.load(adapter)
    name_base(adapter, str(copy))
    made = files.read_json(adapter / "provenance.json")
    files.write_json(adapter / "provenance.json", {**made, "tokenizer_fingerprint": "0" * 64})
    with pytest.raises(ValueError, match=r"0{64}.*run make lora MODEL=tiny"):
        checkpoint.load(adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"12345678")
    with pytest.raises(ValueError, match=r"adapter_model.safetensors is broken"):
        checkpoint.load(adapter)


def test_the_command_says_it_in_one_line(copy: Path, capsys: pytest.CaptureFixture) -> None:
    truncate(copy)
    assert main(["solve", "--checkpoint", str(copy), "1 + 2"]) == 2
    said = capsys.readouterr()
    assert (len(said.err.splitlines()), said.out) == (1, "")
    assert "model.safetensors is broken" in said.err


def test_a_merged_model_solves(adapter: Path, copy: Path, tmp_path: Path) -> None:
    """An adapter that changes nothing merges into a model that knows what its base knew."""
    from safetensors.torch import load_file, save_file

    weights = {name: torch.zeros_like(one) for name, one in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    merged = solver.Solver.from_pretrained(copies.merge(adapter, tmp_path / "merged"))
    base = solver.Solver.from_pretrained(copy)
    assert merged.solve(list(PROBLEMS)) == base.solve(list(PROBLEMS))
    assert json.dumps(merged.solve("1 + 2"))
