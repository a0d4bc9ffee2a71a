"""Lineage: an untouched chain has no fault, every planted break is found and its file named."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import stage, write_recipes
from safetensors.torch import load_file, save_file

from arith_hf import checkpoint, copies, files, hub, lineage, provenance, tokenizer
from arith_hf.__main__ import main
from arith_hf.lineage import checks


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A road of its own, fine-tuned in full and by an adapter; the paths in it are relative, as make leaves them."""
    root = tmp_path_factory.mktemp("made")
    write_recipes(root)
    before = Path.cwd()
    os.chdir(root)
    try:
        for verb, recipe in (("corpus", None), ("tokenizer", None), ("pretrain", None), ("sft", None), ("sft", "lora")):
            assert stage(Path(), verb, recipe=recipe) == 0
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def chain(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy that a test may break, with the working directory in it."""
    root = Path(shutil.copytree(made, tmp_path / "chain"))
    monkeypatch.chdir(root)
    return root


SFT, PRETRAIN, TOKENIZER = (Path("checkpoints/tiny", name) for name in ("sft", "pretrain", "tokenizer"))
ADAPTER, CORPUS = Path("checkpoints/tiny/lora/adapter"), Path("data/tiny")


def faults(folder: Path, verdict: str = "broken") -> dict[str, str]:
    told = lineage.report(folder)
    return {one["file"]: one["said"] for link in told["links"] for one in link["checks"] if one["verdict"] == verdict}


def flip(path: Path, place: int | None = None) -> None:
    """Turn one bit, drawn by the file's name unless a byte is named."""
    data = bytearray(path.read_bytes())
    rng = random.Random(path.name)
    data[rng.randrange(len(data)) if place is None else place] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def foreign_weights(path: Path) -> None:
    """The same names and shapes, as another run would leave them."""
    save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def edit(path: Path, **changes: object) -> None:
    files.write_json(path, files.read_json(path) | changes)


# What is whole


@pytest.mark.parametrize(
    ("folder", "stages"),
    [
        (SFT, ["sft", "pretrain", "tokenizer", "corpus"]),
        (SFT.parent / "lora", ["lora", "pretrain", "tokenizer", "corpus"]),
        (ADAPTER, ["lora", "pretrain", "tokenizer", "corpus"]),
        (TOKENIZER, ["tokenizer", "corpus"]),
        (CORPUS, ["corpus"]),
    ],
)
def test_an_untouched_chain_leads_to_the_corpus_without_a_fault(chain, folder, stages):
    told = lineage.report(folder)
    assert [link["stage"] for link in told["links"]] == stages
    assert (told["broken"], told["unchecked"]) == (0, 0)
    assert told["verified"] >= len(files.read_json(CORPUS / "manifest.json")["files"])


def test_it_is_found_from_anywhere_and_after_a_move(chain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moved = chain.rename(tmp_path / "moved")
    told = lineage.report(moved / SFT)
    assert (len(told["links"]), told["broken"], told["unchecked"]) == (4, 0, 0)


def test_a_merged_model_leads_back_through_its_adapter(chain):
    copies.merge(ADAPTER, "merged")
    told = lineage.report(Path("merged"))
    assert [link["stage"] for link in told["links"]] == ["merge", "lora", "pretrain", "tokenizer", "corpus"]
    assert (told["broken"], told["unchecked"]) == (0, 0)
    flip(ADAPTER / "adapter_model.safetensors", -1)
    assert str(ADAPTER) in faults(Path("merged"))


def test_every_stage_says_what_it_was_made_by(chain):
    for folder in (CORPUS, TOKENIZER, PRETRAIN, SFT, ADAPTER):
        said = files.read_json(folder / "provenance.json")
        assert said["command"].startswith("arith-hf ")
        assert said["started"].endswith("+00:00")
        assert said["machine"]["cores"] >= 1
        assert {"torch", "tokenizers"} <= set(said["versions"])
        assert len(said["code_sha256"]) == len(said["recipe_sha256"]) == 64
    metrics = files.read_json(PRETRAIN / "metrics.json")
    assert metrics["tokens"] > 0
    assert metrics["flops"] > 6 * metrics["tokens"]
    assert {"config.json", "modeling_arith.py", "provenance.json", "tokenizer.json"} <= set(metrics["files"])


# What is broken

BREAKS: dict[str, tuple[Callable[[], object], Path, str]] = {  # the break, the file that is named, what is said
    "bit of the weights": (lambda: flip(SFT / "model.safetensors", -9), SFT / "model.safetensors", "was changed"),
    "bit of the header": (lambda: flip(SFT / "model.safetensors", 3), SFT / "model.safetensors", "broken or cut"),
    "cut weights": (lambda: cut(SFT / "model.safetensors"), SFT / "model.safetensors", "broken or cut short"),
    "foreign weights": (lambda: foreign_weights(SFT / "model.safetensors"), SFT / "model.safetensors", "replaced"),
    "no weights": (lambda: (SFT / "model.safetensors").unlink(), SFT / "model.safetensors", "is missing"),
    "more weights": (
        lambda: shutil.copy(SFT / "model.safetensors", SFT / "model-2.safetensors"),
        SFT / "model-2.safetensors",
        "no file that the stage saved",
    ),
    "other config": (lambda: edit(SFT / "config.json", rms_norm_eps=1.0), SFT / "config.json", "was changed"),
    "other code": (lambda: flip(SFT / "modeling_arith.py"), SFT / "modeling_arith.py", "was changed"),
    "other recipe": (
        lambda: files.write_text(SFT / "recipe.yaml", "seed: 1\n"),
        SFT / "recipe.yaml",
        "`rm checkpoints/tiny/sft/metrics.json` and run make sft MODEL=tiny",
    ),
    "unfinished": (lambda: (SFT / "metrics.json").unlink(), SFT / "metrics.json", "did not end"),
    "swapped tokenizer": (
        lambda: tokenizer.train("char", [], 0).save_pretrained(SFT),
        SFT / "tokenizer.json",
        "is another tokenizer",
    ),
    "swapped tokenizer folder": (
        lambda: tokenizer.train("char", [], 0).save_pretrained(TOKENIZER),
        TOKENIZER / "tokenizer.json",
        "is another tokenizer",
    ),
    "broken tokenizer": (lambda: cut(SFT / "tokenizer.json"), SFT / "tokenizer.json", "cannot read the tokenizer"),
    "other seed in provenance": (
        lambda: edit(SFT / "provenance.json", seed=7),
        SFT / "provenance.json",
        "was changed or replaced",
    ),
    "broken provenance": (
        lambda: (SFT / "provenance.json").write_text('{"stage": '),
        SFT / "provenance.json",
        "provenance.json:1:11: not JSON",
    ),
    "broken provenance of the parent": (
        lambda: (PRETRAIN / "provenance.json").write_text("[]"),
        PRETRAIN / "provenance.json",
        "need a JSON object, got list",
    ),
    "wrong kind in provenance": (
        lambda: edit(SFT / "provenance.json", parent=3),
        SFT / "provenance.json",
        "parent is int, need str",
    ),
    "broken metrics": (lambda: cut(SFT / "metrics.json"), SFT / "metrics.json", "not JSON"),
    "parent's weights": (lambda: flip(PRETRAIN / "model.safetensors", -1), PRETRAIN, "the parent was changed"),
    "another parent": (
        lambda: (shutil.rmtree(PRETRAIN), shutil.copytree(SFT, PRETRAIN)),
        PRETRAIN,
        "put back what it was made from, or make checkpoints/tiny/sft again",
    ),
    "its own parent": (
        lambda: edit(SFT / "provenance.json", parent=str(SFT)),
        SFT / "provenance.json",
        "comes from it",
    ),
    "edited data": (
        lambda: flip(CORPUS / "sft/train.jsonl"),
        CORPUS / "sft/train.jsonl",
        "`rm data/tiny/manifest.json` and run make corpus MODEL=tiny",
    ),
    "cut data": (lambda: cut(CORPUS / "test/nontrivial.jsonl"), CORPUS / "test/nontrivial.jsonl", "was changed"),
    "lost data": (lambda: (CORPUS / "facts.txt").unlink(), CORPUS / "facts.txt", "is missing"),
    "edited manifest": (lambda: edit(CORPUS / "manifest.json", seed=1), CORPUS / "manifest.json", "was edited since"),
    "signed by another": (
        lambda: edit(CORPUS / "manifest.json", tokenizer_fingerprint="0" * 64),
        CORPUS / "manifest.json",
        "was changed or replaced",
    ),
    "broken manifest": (lambda: cut(CORPUS / "manifest.json"), CORPUS / "manifest.json", "not JSON"),
    "odd manifest": (lambda: edit(CORPUS / "manifest.json", files={"a": 1}), CORPUS / "manifest.json", "put the old"),
    "no manifest": (lambda: (CORPUS / "manifest.json").unlink(), CORPUS / "manifest.json", "is not finished"),
    "broken provenance of the corpus": (
        lambda: (CORPUS / "provenance.json").write_bytes(b"\xff"),
        CORPUS / "provenance.json",
        "not UTF-8",
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        *("chat_template.jinja", "additional_chat_templates/x.jinja", "generate.py", "adapter_config.json"),
        *("added_tokens.json", "special_tokens_map.json", "model.safetensors.index.json", "vocab.json"),
    ],
)
def test_a_file_that_was_added_and_would_change_the_answers_is_found(chain, name):
    files.write_text(SFT / name, "{}")
    assert "is no file that the stage saved" in faults(SFT)[str(SFT / name.split("/")[0])]


def test_a_generation_config_where_there_was_none_is_found(chain):
    files.write_json(ADAPTER / "generation_config.json", {"do_sample": True})
    assert str(ADAPTER / "generation_config.json") in faults(ADAPTER)


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_found_and_the_file_is_named(chain, name):
    plant, file, said = BREAKS[name]
    plant()
    told = lineage.report(SFT)
    found = [one for link in told["links"] for one in link["checks"] if one["verdict"] == "broken"]
    assert any(one["file"] == str(file) and said in one["said"] for one in found), found


def test_a_bit_anywhere_in_any_file_of_the_chain_is_found(chain):
    """Of the files that decide what is trained and answered, one by one; the chain is whole again after each."""
    for folder in (SFT, PRETRAIN, TOKENIZER, CORPUS):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            # of the run, for readers
            told = {"README.md", "trainer_state.json", "training_args.bin", "metrics.json", ".lock"}
            if not path.is_file() or inside.name in told or inside.parts[0].startswith("checkpoint-"):
                continue
            if path == CORPUS / "provenance.json":
                continue  # of one run, where the manifest is that of any
            before = path.read_bytes()
            flip(path)
            assert str(path) in faults(SFT), path
            path.write_bytes(before)
    assert not faults(SFT)


def test_what_is_gone_is_not_taken_for_fine_and_is_told_from_what_the_child_remembers(chain):
    shutil.rmtree(PRETRAIN)
    told = lineage.report(SFT)
    assert [link["stage"] for link in told["links"]] == ["sft", "pretrain", "tokenizer", "corpus"]
    lost = told["links"][1]
    assert (lost["found"], lost["command"]) == (False, "arith-hf pretrain --config recipes/tiny/pretrain.yaml")
    assert told["broken"] == 0
    assert str(PRETRAIN) in faults(SFT, "unchecked")
    shutil.rmtree(CORPUS)
    assert {str(PRETRAIN), str(CORPUS)} <= set(faults(SFT, "unchecked"))


def test_a_checkpoint_that_travels_alone_tells_the_whole_chain(chain, tmp_path, monkeypatch):
    """What push publishes and pull fetches, and nothing else."""
    alone = tmp_path / "elsewhere" / "pulled"
    alone.mkdir(parents=True)
    for path in SFT.iterdir():
        if path.is_file() and hub.publishable(path.name):
            shutil.copy(path, alone)
    monkeypatch.chdir(alone.parent)
    told = lineage.report(Path("pulled"))
    assert [link["stage"] for link in told["links"]] == ["sft", "pretrain", "tokenizer", "corpus"]
    assert [link["found"] for link in told["links"]] == [True, False, False, False]
    assert told["broken"] == 0
    assert told["unchecked"] >= 3
    flip(alone / "model.safetensors", -1)
    assert "pulled/model.safetensors" in faults(Path("pulled"))


def test_an_older_provenance_is_not_taken_for_fine(chain):
    for name in ("recipe_sha256", "parent_sha256", "ancestors"):
        edit(SFT / "provenance.json", **{name: None})
    edit(SFT / "metrics.json", weights=None, files=None)
    assert not faults(SFT)
    assert {str(SFT / "recipe.yaml"), str(SFT / "metrics.json"), str(PRETRAIN)} <= set(faults(SFT, "unchecked"))


def test_data_of_ones_own_is_compared(chain):
    rows = [{"prompt": "Evaluate: 1\n", "completion": "<think>\n</think>\nFinal Result: 1"}] * 40
    files.write_jsonl("mine.jsonl", rows)
    proof = provenance.data_proof("mine.jsonl")
    assert checks.compare(Path("mine.jsonl"), proof["sha256"], "x", "y").verdict == "verified"
    edit(SFT / "provenance.json", data=proof)
    assert "mine.jsonl" not in faults(SFT)
    flip(Path("mine.jsonl"))
    assert "make checkpoints/tiny/sft again" in faults(SFT)["mine.jsonl"]


# What other rooms make of it


def test_the_card_carries_the_chain(chain):
    card = (SFT / "README.md").read_text()
    assert card.count(provenance.BEGIN) == card.count(provenance.END) == 1
    weights = provenance.short(provenance.weights_hash(SFT))
    for row in ("| corpus |", "| tokenizer |", "| pretrain |", "| sft |", f"| `{weights}` |"):
        assert row in card
    published = str(hub.card(SFT, "ada/tiny"))
    assert published.count(provenance.BEGIN) == published.count("| pretrain |") == 1
    assert published.index(provenance.BEGIN) < published.index("<details>"), "not in the trainer's own"


@pytest.mark.parametrize("place", [3, 300, -1])
def test_a_turned_bit_is_not_loaded(chain, place):
    for folder, name in ((SFT, "model.safetensors"), (ADAPTER, "adapter_model.safetensors")):
        flip(folder / name, place)
        with pytest.raises(ValueError, match=name):
            checkpoint.load(folder)


def test_an_adapter_is_not_put_on_a_base_that_was_made_anew(chain):
    checkpoint.load(ADAPTER)
    foreign_weights(PRETRAIN / "model.safetensors")
    metrics = files.read_json(PRETRAIN / "metrics.json")
    files.write_json(PRETRAIN / "metrics.json", metrics | provenance.signature(PRETRAIN))
    checkpoint.load(PRETRAIN)
    with pytest.raises(ValueError, match="was trained on weights"):
        checkpoint.load(ADAPTER)


def test_the_command(chain, capsys):
    assert main(["lineage", str(SFT)]) == 0
    said = capsys.readouterr().out
    for text in ("arith-hf sft --config recipes/tiny/sft.yaml", "seed 42", "0 broken", "data/tiny"):
        assert text in said
    cut(SFT / "model.safetensors")
    assert main(["lineage", str(SFT)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "BROKEN checkpoints/tiny/sft/model.safetensors is broken or cut short" in said
    assert "run make sft MODEL=tiny" in said
    assert main(["lineage", str(SFT), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["broken"] == 1


@pytest.mark.parametrize(("folder", "said"), [("nowhere", "no folder nowhere"), ("recipes", "no provenance.json in")])
def test_what_has_no_lineage_is_the_users_mistake(chain, capsys, folder, said):
    assert main(["lineage", folder]) == 2
    assert said in capsys.readouterr().err
