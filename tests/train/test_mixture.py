import doctest
import shutil

import numpy as np
import pytest
import talks
import texts
import torch
from conftest import stage
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from arith_hf import checkpoint, files, recipe
from arith_hf.train import mixture, pretrain, sft
from arith_hf.train.mixture import by_source, largest_remainder, read_weights, schedule
from arith_hf.train.packing import pack
from benchmarks import resume as verify


def test_examples():
    assert doctest.testmod(mixture).failed == 0


shares = st.lists(st.floats(0.01, 1), min_size=1, max_size=5)


@given(shares, st.integers(0, 500))
def test_whole_numbers_are_nearest_and_sum_up(shares, total):
    counts = largest_remainder(shares, total)
    assert sum(counts) == total
    assert all(abs(count - share / sum(shares) * total) < 1 for count, share in zip(counts, shares, strict=True))


@given(shares, st.data(), st.integers(1, 400), st.integers(0, 3))
def test_a_schedule_is_exact_at_its_end_and_close_at_any_place(shares, data, total, seed):
    sizes = [data.draw(st.integers(1, 30)) for _ in shares]
    order = schedule(sizes, shares, total, str(seed))
    source = np.repeat(np.arange(len(sizes)), sizes)[order]
    counts = largest_remainder(shares, total)
    assert np.bincount(source, minlength=len(sizes)).tolist() == counts
    for index, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        so_far = np.cumsum(source == index)
        even = np.arange(1, total + 1) * count / total
        assert np.abs(so_far - even).max() <= 1 + len(sizes) * count / total + 1e-9
        mine = order[source == index] - sum(sizes[:index])
        for begin in range(0, count, size):  # each pass has every block once
            seen = mine[begin : begin + size]
            assert len(set(seen.tolist())) == len(seen)
    assert np.array_equal(order, schedule(sizes, shares, total, str(seed)))


def test_passes_differ_and_seeds_differ():
    one = schedule([50], [1.0], 100, "0")
    assert not np.array_equal(one[:50], one[50:])
    assert not np.array_equal(one, schedule([50], [1.0], 100, "1"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{en: 1", "need '{en: 0.5, es: 0.5}' or the like"),
        ("en=1", "need a weight for one or more of en, es"),
        ('{"en": 0.5, "fr": 0.5}', "no source `fr`: these texts have en, es"),
        ('{"en": 1, "en": 2}', "stands twice"),
        ('{"en": 0}', "need a number > 0 for `en`, got 0"),
        ('{"en": NaN}', "need a number > 0 for `en`"),
        ('{"en": 1e999}', "need a number > 0 for `en`"),
        ('{"en": true}', "need a number > 0"),
        ("{}", "need a weight for one or more of en, es"),
    ],
)
def test_weights_that_cannot_be_are_refused(said, message):
    with pytest.raises(ValueError, match=message):
        read_weights(said, ["en", "es"])


def test_weights_are_written_as_in_a_recipe_or_as_json():
    for said in ("{en: 3, ñ: 1}", '{"en": 3, "ñ": 1}', '{"en":3,"\\u00f1":1}'):
        assert read_weights(said, ["en", "ñ"]) == {"en": 0.75, "ñ": 0.25}
    (token,) = recipe.to_tokens("source_weights", {"en": 1e-5, "🦉": 3e-5})
    assert read_weights(token.partition("=")[2], ["en", "🦉"]) == pytest.approx({"en": 0.25, "🦉": 0.75})


def test_a_source_without_a_weight_is_left_out_with_a_word(caplog, monkeypatch):
    monkeypatch.setattr(mixture.logger, "propagate", True)
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "source": ["en", "es", "en"]})
    sources, weights = by_source(rows, '{"en": 2}')
    assert weights == {"en": 1.0}
    assert sources["en"]["text"][:] == ["a", "c"]
    assert "leaves out es" in caplog.text
    with pytest.raises(ValueError, match="no column `source`"):
        by_source(rows.remove_columns("source"), '{"en": 1}')


@pytest.mark.parametrize("name", [None, 3])
def test_a_row_without_the_name_of_a_source_is_named(name):
    rows = Dataset.from_dict({"text": ["a", "b"], "source": [name, name] if name else ["en", None]})
    with pytest.raises(ValueError, match=f"need a string in the column `source`, got {name} in row"):
        by_source(rows, '{"en": 1}')


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    weights = {"source_weights": {"en": 0.3, "es": 0.7}, "per_device_train_batch_size": 2, "max_steps": -1}
    epochs = {"num_train_epochs": 3, "save_steps": 5, "eval_steps": 5, "gradient_accumulation_steps": 2}
    return texts.write(tmp_path_factory.mktemp("text"), **weights, **epochs)


def fed(monkeypatch, trainer=mixture.MixtureTrainer) -> list[torch.Tensor]:
    """What any model is given to learn, as it is given."""
    found: list[torch.Tensor] = []
    real = trainer.training_step

    def step(self, model, inputs, *more):
        found.append(inputs["input_ids"].clone())
        return real(self, model, inputs, *more)

    monkeypatch.setattr(trainer, "training_step", step)
    return found


def test_the_mix_that_is_fed_is_the_one_that_was_asked_for(text, monkeypatch):
    """Counted from the batches themselves: which source a block is of is seen by its tokens."""
    found = fed(monkeypatch)
    folder = text / "checkpoints/tiny/pretrain"
    assert stage(text, "pretrain") == 0
    model_tokenizer = checkpoint.load_tokenizer(folder)
    tokens = {"en": 0, "es": 0}
    for batch in found:
        for ids in batch:
            written = model_tokenizer.decode(ids, skip_special_tokens=True)
            letters = [one for one in written if one.isalpha()]
            assert len({one.isupper() for one in letters}) == 1, "sources do not share a block"
            source = "es" if letters[0].isupper() else "en"
            tokens[source] += int((ids != model_tokenizer.pad_token_id).sum())
    log = files.read_json(folder / "trainer_state.json")["log_history"]
    told = [row for row in log if "mix_en" in row]
    assert [row["step"] for row in told] == [row["step"] for row in log if "eval_loss" in row]
    assert all(row["tokens_seen"] == row["num_input_tokens_seen"] for row in told), "the Trainer's own count"
    assert told[-1]["mix_es"] == pytest.approx(0.7, abs=0.02)  # of few blocks
    assert told[-1]["mix_en"] + told[-1]["mix_es"] == pytest.approx(1)
    upto = told[-1]["step"] * 4
    rows = torch.cat(found)[:upto]
    assert told[-1]["tokens_seen"] == int((rows != model_tokenizer.pad_token_id).sum())
    assert tokens["es"] / sum(tokens.values()) == pytest.approx(0.7, abs=0.02)
    assert told[-1]["epochs_es"] > 3 > told[-1]["epochs_en"] > 0, "what has few blocks is seen more often"
    assert told[-1]["done"] == pytest.approx(upto / len(torch.cat(found)), abs=1e-4)


def test_a_killed_run_is_fed_what_a_whole_one_is(text, tmp_path, monkeypatch):
    """In its second pass, over batches that are put together of two."""
    whole, killed = tmp_path / "whole/pretrain", tmp_path / "killed/pretrain"
    found = fed(monkeypatch)
    assert stage(text, "pretrain", "--output_dir", str(killed)) == 0
    blocks = found.copy()
    shutil.copytree(killed, whole)
    steps = sorted(int(path.name.rpartition("-")[2]) for path in killed.glob("checkpoint-*"))
    for step in steps[steps.index(15) + 1 :]:
        shutil.rmtree(killed / f"checkpoint-{step}")
    per_pass = mixture_of(text, tmp_path).per_pass // 4
    assert steps[-1] > 15 > per_pass, "the step to go on from is not of the first pass"
    (killed / "metrics.json").unlink()
    found.clear()
    assert stage(text, "pretrain", "--output_dir", str(killed)) == 0
    assert torch.equal(torch.cat(found), torch.cat(blocks[-len(found) :]))
    assert files.read_json(killed / "metrics.json")["resumed_from"].endswith("checkpoint-15")
    assert verify.compare(whole, killed) == []
    assert [row["step"] for row in files.read_jsonl(killed / "generations.jsonl")][:6] == [5, 5, 10, 10, 15, 15]


def mixture_of(root, place) -> mixture.Mixture:
    argv = ["--config", str(root / "recipes/tiny/pretrain.yaml"), "--output_dir", str(place / "unused")]
    return pretrain.prepare(argv)[0].mixture


def test_the_mix_of_a_long_run_is_within_a_hundredth(text, tmp_path):
    """600 steps of 4 blocks, not taken: what they would be fed."""
    argv = ["--config", str(text / "recipes/tiny/pretrain.yaml"), "--output_dir", str(tmp_path / "long")]
    trainer, _ = pretrain.prepare([*argv, "--max_steps", "600"])
    for steps in (60, 150, 300, 600):
        seen = trainer.mixture.seen(steps)
        assert seen["mix_en"] == pytest.approx(0.3, abs=0.01)
        assert seen["mix_es"] == pytest.approx(0.7, abs=0.01)
    assert seen["done"] == 1


def test_a_source_that_is_not_there_is_an_error_before_anything_is_written(text, tmp_path, capsys):
    place = ["--output_dir", str(tmp_path / "out")]
    assert stage(text, "pretrain", *place, "--source_weights", '{"en": 0.5, "fr": 0.5}') == 2
    assert "no source `fr`: these texts have en, es" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_text_and_arithmetic_are_sources_like_others(road, tmp_path):
    """One file of both as their corpora wrote them: rows of arithmetic have columns that those of text have not."""
    drills = [row for row in files.read_jsonl(road / "data/tiny/pretrain/train.jsonl") if row["source"] == "drill"]
    assert {"given", "ends"} <= set(drills[0])
    root = texts.write(tmp_path, source_weights={"drill": 0.4, "en": 0.6}, max_steps=6)
    mixed = [*texts.documents(texts.EN, "en", 20), *drills[:40]]
    files.write_jsonl(tmp_path / "both.jsonl", mixed)
    assert stage(root, "pretrain", "--dataset_name", str(tmp_path / "both.jsonl")) == 0
    log = files.read_json(root / "checkpoints/tiny/pretrain/trainer_state.json")["log_history"]
    assert [row["mix_drill"] for row in log if "mix_drill" in row][-1] == pytest.approx(0.4, abs=0.06)  # 24 blocks


def test_what_a_row_of_arithmetic_is_given_is_not_learned_beside_text_either(road):
    model_tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    text, told = "Evaluate: 3 + 4\n", len("Evaluate: ")
    rows = [{"text": text, "given": told, "ends": False}, {"text": text}]
    (block,) = pack(Dataset.from_list(rows), model_tokenizer, 64)
    offsets = model_tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    learned = block["labels"].tolist()
    assert learned.count(model_tokenizer.eos_token_id) == 1, "of the row that says nothing of it"
    behind = sum(start >= told for start, _ in offsets)
    assert sum(label != -100 for label in learned) == behind + len(offsets)


# Fine-tuning


def rows_of(columns: str) -> list[dict]:
    """Of two sources, the owls' rows much longer; those without a template are a prompt and its completion."""
    says = {"dogs": [f"the dog {number}" for number in range(30)]}
    says["owls"] = [f"an owl, of course; {'an owl, of course; ' * (number % 4)}an owl" for number in range(40, 52)]
    rows = []
    for source, replies in says.items():
        for reply in replies:
            ask = f"Which animal barks? {reply}"
            turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": reply}]
            row = {"messages": turns} if columns == "messages" else {"prompt": ask, "completion": reply}
            rows.append(row | {"source": source})
    return rows


@pytest.fixture(scope="module", params=["messages", "prompt"])
def tuning(request, tmp_path_factory):
    keys = {"source_weights": {"dogs": 0.3, "owls": 0.7}, "per_device_train_batch_size": 2, "max_steps": -1}
    keys |= {"num_train_epochs": 3, "save_steps": 5, "eval_steps": 5, "gradient_accumulation_steps": 2}
    template = "chatml" if request.param == "messages" else None
    return talks.write(tmp_path_factory.mktemp("tuning"), template, rows_of(request.param), **keys)


def test_the_mix_of_fine_tuning_is_the_one_that_was_asked_for(tuning, monkeypatch):
    """Counted from the batches themselves, padding apart; logged and said as in pretraining."""
    found = fed(monkeypatch, sft.MixtureSFTTrainer)
    folder = tuning / "checkpoints/tiny/sft"
    assert stage(tuning, "sft") == 0
    own = checkpoint.load_tokenizer(folder)
    tokens = {"dogs": 0, "owls": 0}
    for batch in found:
        for ids in batch:
            source = "owls" if "owl" in own.decode(ids) else "dogs"
            tokens[source] += int((ids != own.pad_token_id).sum())
    assert tokens["owls"] / sum(tokens.values()) == pytest.approx(0.7, abs=0.03)  # of few rows
    log = files.read_json(folder / "trainer_state.json")["log_history"]
    told = [row for row in log if "mix_owls" in row]
    assert [row["step"] for row in told] == [row["step"] for row in log if "eval_loss" in row]
    assert all(row["tokens_seen"] == row["num_input_tokens_seen"] for row in told), "the Trainer's own count"
    upto = torch.cat([(ids != own.pad_token_id).sum(1) for ids in found])[: told[-1]["step"] * 4]
    assert told[-1]["tokens_seen"] == int(upto.sum())
    assert told[-1]["mix_dogs"] + told[-1]["mix_owls"] == pytest.approx(1)
    assert told[-1]["epochs_owls"] > 3 > told[-1]["epochs_dogs"] > 0
    assert told[-1]["done"] == pytest.approx(len(upto) / sum(map(len, found)), abs=1e-4)


def test_a_killed_fine_tuning_is_fed_what_a_whole_one_is(tuning, tmp_path, monkeypatch):
    """In its second pass, over batches that are put together of two."""
    whole, killed = tmp_path / "whole/sft", tmp_path / "killed/sft"
    found = fed(monkeypatch, sft.MixtureSFTTrainer)
    assert stage(tuning, "sft", "--output_dir", str(killed)) == 0
    batches = found.copy()
    shutil.copytree(killed, whole)
    steps = sorted(int(path.name.rpartition("-")[2]) for path in killed.glob("checkpoint-*"))
    for step in steps[steps.index(15) + 1 :]:
        shutil.rmtree(killed / f"checkpoint-{step}")
    assert steps[-1] > 15 > tuned(tuning, tmp_path).per_pass // 4, "the step to go on from is not of the first pass"
    (killed / "metrics.json").unlink()
    found.clear()
    assert stage(tuning, "sft", "--output_dir", str(killed)) == 0
    assert len(found) == (steps[-1] - 15) * 2
    assert all(torch.equal(one, other) for one, other in zip(found, batches[-len(found) :], strict=True))
    assert files.read_json(killed / "metrics.json")["resumed_from"].endswith("checkpoint-15")
    assert verify.compare(whole, killed) == []


def tuned(root, place, *more: str) -> mixture.Mixture:
    argv = ["--config", str(root / "recipes/tiny/sft.yaml"), "--output_dir", str(place / "unused"), *more]
    return sft.prepare(argv)[0].mixture


def test_the_mix_of_a_long_fine_tuning_is_within_a_hundredth(tuning, tmp_path):
    long = tuned(tuning, tmp_path, "--max_steps", "600")
    for steps in (150, 300, 600):
        assert long.seen(steps)["mix_dogs"] == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--source_weights", '{"dogs": 1, "cats": 1}'], "no source `cats`: these texts have dogs, owls"),
        (["--source_weights", '{"dogs": -1}'], "need a number > 0 for `dogs`, got -1"),
        (["--train_sampling_strategy", "group_by_length"], "train_sampling_strategy: group_by_length would each say"),
        (["--packing", "true"], "source_weights: need packing false"),
        (["--auto_find_batch_size", "true"], "source_weights: need auto_find_batch_size false"),
    ],
)
def test_what_cannot_be_with_weights_is_an_error_before_anything_is_written(tuning, tmp_path, capsys, more, said):
    assert stage(tuning, "sft", "--output_dir", str(tmp_path / "out"), *more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rows_for_fine_tuning_of_no_source_have_no_weights(tmp_path, capsys):
    root = talks.write(tmp_path, source_weights={"dogs": 1})
    assert stage(root, "sft") == 2
    assert "no column `source`" in capsys.readouterr().err


def test_rows_of_a_source_and_weights_of_none_are_learned_as_ever(tmp_path):
    trainer, _ = sft.prepare(
        ["--config", str(talks.write(tmp_path, rows=rows_of("messages")) / "recipes/tiny/sft.yaml")]
    )
    assert type(trainer) is sft.SFTTrainer
    assert len(trainer.train_dataset) == 42
