"""The same recipe gives the same bytes, today as when these values were written down, and for any number of workers.

A change that is meant to make other corpora, tokenizers or losses changes the values here, and says so in CHANGELOG.md.
"""

import pytest
from conftest import stage

from arith_hf import checkpoint, files, provenance, tokenizer
from benchmarks import resume

CORPUS = "093ab39b45ae6d0933520112ed72e99a9a4a2bc5359bc67a34e4e75105a3d664"
PAIRS = "1c0d5fc24fa030e1cc7d7112e84f17fc215c503113e02e12206985a1d889995d"
TOKENIZER = "13f72fc624a0688afad0afe5f69800d0db9a042111ba0259c5657a56f57bef72"
FINGERPRINT = "b3dea6d27f840a152f2e47260f5896ce55934cd9f51d618b51488acdefca3bfa"
LOSSES = [4.76438, 4.94456, 4.92437, 4.74735]  # of the four steps of pretraining


def test_the_corpus_is_the_one_it_always_was(road):
    listed = files.read_json(road / "data/tiny/manifest.json")["files"]
    hashes = {name: one["sha256"] for name, one in listed.items()}
    pairs = {name: hashes.pop(name) for name in sorted(hashes) if "preferences" in name}
    assert provenance.digest(hashes) == CORPUS
    assert provenance.digest(pairs) == PAIRS


def test_the_tokenizer_is_the_one_it_always_was(road):
    folder = road / "checkpoints/tiny/tokenizer"
    assert files.sha256(folder / "tokenizer.json") == TOKENIZER
    assert tokenizer.fingerprint(checkpoint.load_tokenizer(folder)) == FINGERPRINT


def test_the_losses_are_those_they_always_were(road):
    """Not to the last bit: processors and builds of PyTorch add in different orders."""
    log = files.read_json(road / "checkpoints/tiny/pretrain/trainer_state.json")["log_history"]
    assert [row["loss"] for row in log if "loss" in row] == pytest.approx(LOSSES, rel=1e-4)


@pytest.mark.parametrize("name", ["pretrain", "sft", "dpo", "grpo"])
def test_the_same_bytes_for_any_number_of_data_workers(road, tmp_path, name):
    place = tmp_path / name
    more = ["--output_dir", str(place)]
    if name != "pretrain":
        more += ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain")]
    made = []
    for number in ("0", "2"):
        workers = ["--dataloader_num_workers", number]
        if name != "grpo":
            workers += ["--dataset_num_proc", str(int(number) or 1)]
        assert stage(road, name, *more, *workers) == 0
        made.append(place.rename(tmp_path / number))
    assert resume.compare(*made) == []
