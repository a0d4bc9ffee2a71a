"""Preference tuning on natural text: answers are written as fine-tuning writes them, and end as they do there."""

import json
import shutil

import pytest
import talks
import yaml
from conftest import TRAINING, TUNING, stage

from arith_hf import chat, checkpoint, decoding, files, preferences
from arith_hf.train import dpo, sft

PAIRS = [
    {"prompt": ask, "chosen": good, "rejected": bad}
    for ask, good, bad in zip(talks.ASKED, talks.SAID, reversed(talks.SAID), strict=True)
]
KEYS = TRAINING | TUNING | {"max_length": 512, "num_eval_pairs": 0}


def write(root, name="chatml", pairs=PAIRS):
    """recipes/tiny/dpo.yaml beside what `talks` writes; its parent is the model that has learned nothing."""
    talks.write(root, name)
    for split in ("train", "validation"):
        files.write_jsonl(root / f"data/tiny/preferences/{split}.jsonl", pairs)
    keys = KEYS | {"model_name_or_path": str(root / "checkpoints/tiny/pretrain")}
    (root / "recipes/tiny/dpo.yaml").write_text(yaml.safe_dump(keys))
    return root


def argv(root, name):
    return ["--config", str(root / f"recipes/tiny/{name}.yaml")]


@pytest.mark.parametrize("name", chat.NAMES)
def test_an_answer_is_written_as_fine_tuning_writes_it(tmp_path, name):
    root = write(tmp_path, name)
    rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in PAIRS]
    for split in ("train", "validation"):
        files.write_jsonl(root / f"data/tiny/sft/{split}.jsonl", rows)
    tuned, _ = sft.prepare(argv(root, "sft"))
    preferring, _ = dpo.prepare(argv(root, "dpo"))
    own = preferring.processing_class
    end = chat.end_ids(own)[-1]
    for pair, row, told in zip(PAIRS, preferring.train_dataset, tuned.train_dataset, strict=True):
        prompt, chosen, rejected = (tuple(row[f"{one}_ids"]) for one in preferences.COLUMNS)
        assert (prompt, chosen, rejected) == preferences.encode(own, pair)
        assert [*prompt, *chosen] == list(told["input_ids"])
        for ids, text in ((chosen, pair["chosen"]), (rejected, pair["rejected"])):
            assert ids.count(end) == 1
            assert own.decode(ids[: ids.index(end)]).removeprefix(" ") == text
            assert own.decode(ids[ids.index(end) + 1 :]) in ("", "\n")


def test_what_is_tuned_still_ends_where_a_turn_ends(tmp_path):
    root = write(tmp_path)
    assert stage(root, "dpo") == 0
    model, own = checkpoint.load(root / "checkpoints/tiny/dpo")
    assert sorted(model.config.eos_token_id) == sorted(chat.end_ids(own))
    assert set(decoding.end_tokens(model, own)) == set(chat.end_ids(own))
    metrics = files.read_json(root / "checkpoints/tiny/dpo/metrics.json")
    assert metrics["eval_preferred"] in (0, 0.25, 0.5, 0.75, 1)
    assert "eval_exact_match" not in metrics


@pytest.mark.parametrize("mark", ["<|im_end|>", "<eos>"])
def test_a_pair_that_writes_a_token_of_the_model_is_named(tmp_path, mark):
    """It would be taken for the end of the turn."""
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row | {"chosen": f"{row['chosen']}{mark} no"}) + "\n" for row in PAIRS))
    with pytest.raises(ValueError, match=r"row 1: `chosen` has '.*' in it, which is a token of the model"):
        dpo.prepare([*argv(write(tmp_path), "dpo"), "--dataset_name", str(path)])


def test_a_number_of_pairs_below_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="need num_eval_pairs >= 0, got -1"):
        dpo.prepare([*argv(write(tmp_path), "dpo"), "--num_eval_pairs", "-1"])


def test_a_corpus_without_pairs_is_said_to_need_files_of_them(tmp_path):
    root = write(tmp_path)
    shutil.rmtree(root / "data/tiny/preferences")
    with pytest.raises(FileNotFoundError, match=r"no pairs at .*: give corpus.yaml `preferences`, files of pairs"):
        dpo.prepare(argv(root, "dpo"))


def test_more_than_the_learned_positions_is_refused(tmp_path):
    root = write(tmp_path)
    path = root / "checkpoints/tiny/pretrain/config.json"
    said = files.read_json(path) | {"position_embedding": "learned", "max_position_embeddings": 64}
    model, _ = checkpoint.load(path.parent)
    learned = type(model)(type(model.config)(**said))
    learned.save_pretrained(path.parent)
    with pytest.raises(ValueError, match="max_length: need at most 64, the positions of this model, got 512"):
        dpo.prepare(argv(root, "dpo"))
