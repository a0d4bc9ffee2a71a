"""Text comes back exactly, ids follow from content alone, and a wrong tokenizer is noticed."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import stage, write_recipes
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from arith_hf import files, lengths, tokenizer
from arith_hf.__main__ import main
from arith_hf.notation import expression as notation
from arith_hf.tasks import expression

KINDS = ("digits", "bpe", "char", "unigram")


def write_texts(count: int = 150) -> list[str]:
    """Problems with their solutions, bare numbers and malformed ones among them."""
    rng = random.Random("texts")
    posed = [" ".join(rng.choices("0123456789+-()", k=rng.randint(1, 12))) for _ in range(count)]
    typed = ["4", "-5 + 3", "5 - -3", "4 - (-7)", "((4))", "12+7", "5 + (10 - 3)", "1 - (2 - (3 - (4 - 500)))", "-", ""]
    return [
        notation.prompt(notation.problem(text)) + notation.completion(expression.work(text))
        for text in [*typed, *posed]
    ]


TEXTS = write_texts()


def make(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the kind; `places`: of digits by threes."""
    if kind == "places":
        return tokenizer.train("digits", places=3)
    return tokenizer.train(kind, TEXTS, vocab_size=400)


@pytest.fixture(scope="module", params=[*KINDS, "places"])
def own(request):
    return make(request.param)


# Text and ids


def test_text_comes_back_exactly(own) -> None:
    for text in TEXTS:
        ids = own(text)["input_ids"]
        assert own.decode(ids, skip_special_tokens=True) == text
        assert own.unk_token_id not in ids
    tokenizer.require_known(own, TEXTS)


def test_bos_in_front_and_nothing_at_the_end(own) -> None:
    ids = own("Evaluate: 4\n")["input_ids"]
    assert ids[0] == own.bos_token_id
    assert own.eos_token_id not in ids
    assert set(own("Evaluate: 4\n")) == {"input_ids", "attention_mask"}


def test_specials_are_distinct_and_the_tags_are_whole_but_not_special(own) -> None:
    assert sorted(own.all_special_ids) == [0, 1, 2, 3]
    assert (own.pad_token, own.unk_token, own.bos_token, own.eos_token) == ("<pad>", "<unk>", "<bos>", "<eos>")
    assert len({own.pad_token_id, own.unk_token_id, own.bos_token_id, own.eos_token_id}) == 4
    for tag in (notation.THINK, notation.END_THINK):
        assert len(own(tag, add_special_tokens=False)["input_ids"]) == 1
        assert own.decode(own(tag)["input_ids"], skip_special_tokens=True) == tag


def test_the_mask_boundary_is_exact(own) -> None:
    for text in TEXTS:
        prompt, tag, completion = text.partition(notation.THINK)
        together = own(text)["input_ids"]
        assert together == own(prompt)["input_ids"] + own(tag + completion, add_special_tokens=False)["input_ids"]
        assert together.count(own.convert_tokens_to_ids(notation.THINK)) == 1


def test_padding_is_on_the_left(own) -> None:
    batch = own(["Evaluate: 4\n", "Evaluate: 4 + 4 - 4\n"], padding=True)
    assert batch["attention_mask"][0][0] == 0
    assert batch["attention_mask"][0][-1] == 1
    assert batch["input_ids"][0][0] == own.pad_token_id


def test_digits_reads_one_digit_at_a_time_and_keywords_whole() -> None:
    own = tokenizer.train("digits")
    assert own.tokenize("Evaluate: -12 - (3 + -4)\n<think>\nExpression now: 3") == [
        *(
            "Evaluate: ",
            "-",
            "1",
            "2",
            " - (",
            "3",
            " + ",
            "-",
            "4",
            ")",
            "\n",
            "<think>",
            "\nExpression now: ",
            "3",
        )
    ]
    assert "".join(own.tokenize("\nStep 10: 3")).startswith("\nStep ")
    assert own.tokenize("\nStep 10: 3")[-1] == "3"
    failed = f"{notation.THINK}{notation.FAILED}{notation.END_THINK}\nFinal Result: ERROR"
    assert own.tokenize(failed) == ["<think>", "Evaluation ERROR", "</think>", "\nFinal Result: ", "ERROR"]


def test_a_digit_is_another_token_in_another_place() -> None:
    own, plain = tokenizer.train("digits", places=3), tokenizer.train("digits")

    def ids(text: str) -> list[int]:
        return own(text, add_special_tokens=False)["input_ids"]

    assert len(own) == len(plain) + 20
    assert ids("7") == ids("17")[-1:] == ids("-107")[-1:]
    assert ids("70 + 7")[0] == ids("179")[1]
    assert len({*ids("777")}) == 3
    assert ids("7777")[:2] == [ids("777")[0]] * 2  # beyond the last place all are alike
    for text in ("\nStep 12: 1234 + -5 = ", "Evaluate: 10 - (22 + 303)\n", "\nStep 64: 7"):
        assert own.decode(own(text)["input_ids"], skip_special_tokens=True) == text
        assert len(own(text)["input_ids"]) == len(plain(text)["input_ids"])
    with pytest.raises(ValueError, match="places"):
        tokenizer.train("digits", places=0)


@given(st.text(alphabet="0123456789+-() \n", max_size=60), st.integers(2, 9))
def test_places_give_any_text_back(text: str, places: int) -> None:
    own = tokenizer.train("digits", places=places)
    assert own.decode(own(text)["input_ids"], skip_special_tokens=True) == text


def test_bpe_merges_nothing_across_a_tag() -> None:
    own = tokenizer.train("bpe", TEXTS, vocab_size=600)
    assert len(own) <= 600
    assert {name for name in own.get_vocab() if "think" in name} == {notation.THINK, notation.END_THINK}


def test_bpe_is_the_same_every_time_and_writes_any_text() -> None:
    one, other = (tokenizer.train("bpe", TEXTS, vocab_size=500) for _ in range(2))
    assert tokenizer.fingerprint(one) == tokenizer.fingerprint(other)
    tokenizer.require_known(one, ["déjà vu 7 × 8 = 56 \t\r\n", "  ", "🙂"])


@pytest.mark.parametrize("kind", ["digits", "char"])
@pytest.mark.parametrize(("text", "lost"), [("Evaluate: 2 * 3\n", "'*'"), ("<pad>4", "'<pad>'"), ("4٣", "'٣'")])
def test_text_that_cannot_be_written_is_an_error(kind, text, lost) -> None:
    with pytest.raises(ValueError, match="cannot write") as caught:
        tokenizer.require_known(tokenizer.train(kind), ["4", text])
    assert lost in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "texts", "vocab_size", "message"),
    [
        ("word", TEXTS, 1000, "digits, char, bpe, unigram, got word"),
        ("bpe", [], 1000, "got none"),
        ("bpe", TEXTS, 100, "need vocab_size >= 262"),
    ],
)
def test_what_cannot_be_made(kind, texts, vocab_size, message) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizer.train(kind, texts, vocab_size)


# Fingerprint


def test_fingerprint_survives_saving_loading_padding_and_truncation(own, tmp_path) -> None:
    before = tokenizer.fingerprint(own)
    own.save_pretrained(tmp_path / "plain")
    own(["4", "4 + 4"], padding="max_length", max_length=3, truncation=True)
    assert tokenizer.fingerprint(own) == before
    own.padding_side, own.model_max_length = "right", 7
    own.save_pretrained(tmp_path / "used")
    own.padding_side = "left"
    for name in ("plain", "used"):
        loaded = AutoTokenizer.from_pretrained(tmp_path / name)
        assert tokenizer.fingerprint(loaded) == before
        assert [loaded(text)["input_ids"] for text in TEXTS[:20]] == [own(text)["input_ids"] for text in TEXTS[:20]]
        loaded.save_pretrained(tmp_path / "again")
        assert tokenizer.fingerprint(AutoTokenizer.from_pretrained(tmp_path / "again")) == before


def test_fingerprints_are_the_same_in_another_process(tmp_path) -> None:
    known = {kind: make(kind) for kind in (*KINDS, "places")}
    for kind, one in known.items():
        one.save_pretrained(tmp_path / kind)
    code = (
        "import sys; from transformers import AutoTokenizer; from arith_hf import tokenizer\n"
        "for path in sys.argv[1:]: print(tokenizer.fingerprint(AutoTokenizer.from_pretrained(path)))"
    )
    seeded = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(tokenizer.__file__).parent.parent)}
    command = [sys.executable, "-c", code, *(str(tmp_path / kind) for kind in known)]
    done = subprocess.run(command, env=seeded, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [tokenizer.fingerprint(one) for one in known.values()], done.stderr


def edit(folder: Path, change) -> None:
    """Apply `change` to the content of a saved tokenizer.json."""
    content = files.read_json(folder / "tokenizer.json")
    change(content)
    files.write_json(folder / "tokenizer.json", content)


def swap(vocabulary: dict[str, int], one: str, other: str) -> None:
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("bpe", lambda content: content["model"]["merges"].pop()),
        ("bpe", lambda content: content["model"]["merges"].insert(0, content["model"]["merges"].pop())),
        ("digits", lambda content: swap(content["model"]["vocab"], "1", "2")),
        ("char", lambda content: content["model"]["vocab"].update({"*": len(content["model"]["vocab"])})),
        ("digits", lambda content: content.update(normalizer={"type": "Lowercase"})),
        ("digits", lambda content: content.update(post_processor=None)),
    ],
)
def test_fingerprint_changes_with_what_determines_the_ids(kind, change, tmp_path) -> None:
    own = tokenizer.train(kind, TEXTS, vocab_size=400)
    own.save_pretrained(tmp_path)
    edit(tmp_path, change)
    assert tokenizer.fingerprint(AutoTokenizer.from_pretrained(tmp_path)) != tokenizer.fingerprint(own)


def test_fingerprint_changes_with_an_added_or_another_special_token() -> None:
    plain, added, other = (tokenizer.train("digits") for _ in range(3))
    added.add_tokens([AddedToken("*")])
    other.eos_token = "<pad>"
    assert len({tokenizer.fingerprint(one) for one in (plain, added, other)}) == 3


def test_require_names_both_fingerprints_and_the_repair() -> None:
    own, other = tokenizer.train("digits"), tokenizer.train("char")
    expected = tokenizer.fingerprint(own)
    tokenizer.require(own, expected, "data/M", "run make tokenizer MODEL=M")
    with pytest.raises(ValueError, match="data/M was made with tokenizer") as caught:
        tokenizer.require(other, expected, "data/M", "run make tokenizer MODEL=M")
    for part in (expected, tokenizer.fingerprint(other), "run make tokenizer MODEL=M"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="does not say which tokenizer"):
        tokenizer.require(own, None, "data/M", "run make tokenizer MODEL=M")


# The stage and the tables


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A root folder with recipes/tiny and a corpus in data/tiny, written by hand."""
    write_recipes(tmp_path)
    data = tmp_path / "data" / "tiny"
    rows = [text.partition(notation.THINK) for text in TEXTS]
    sft = [{"prompt": prompt, "completion": tag + rest} for prompt, tag, rest in rows]
    problems = [{"problem": prompt.removesuffix("\n"), "answer": "4"} for prompt, _, _ in rows]
    files.write_jsonl(data / "pretrain" / "train.jsonl", [{"text": text, "source": "trace"} for text in TEXTS])
    for name in ("train", "validation"):
        files.write_jsonl(data / "sft" / f"{name}.jsonl", sft)
    files.write_jsonl(data / "prompts" / "train.jsonl", [{"prompt": prompt, "answer": "4"} for prompt, _, _ in rows])
    files.write_jsonl(data / "test" / "seed.jsonl", problems)
    files.write_json(data / "manifest.json", {"seed": 1, "tokenizer_fingerprint": None})
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_the_stage_writes_a_tokenizer_and_signs_the_corpus(corpus, kind, capsys) -> None:
    manifest, folder = corpus / "data" / "tiny" / "manifest.json", corpus / "checkpoints" / "tiny" / "tokenizer"
    os.utime(manifest, ns=(5_000_000_000, 5_000_000_001))
    assert (
        stage(corpus, "tokenizer", "--kind", kind, "--places", "1", "--vocab_size", "400", "--model_max_length", "99")
        == 0
    )
    metrics = files.read_json(folder / "metrics.json")
    loaded = AutoTokenizer.from_pretrained(folder)
    assert metrics["fingerprint"] == tokenizer.fingerprint(loaded)
    assert files.read_json(manifest) == {"seed": 1, "tokenizer_fingerprint": metrics["fingerprint"]}
    assert manifest.stat().st_mtime_ns == 5_000_000_001
    assert (metrics["kind"], metrics["vocab_size"]) == (kind, len(loaded))
    counts = [len(loaded(text)["input_ids"]) + 1 for text in TEXTS]
    assert metrics["tokens_per_problem"]["max"] == max(counts)
    assert metrics["tokens_per_problem"]["mean"] == pytest.approx(sum(counts) / len(counts), abs=0.05)
    assert loaded.model_max_length == 99
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == {key: value for key, value in metrics.items() if key != "files"}
    newest = max(folder.iterdir(), key=lambda path: path.stat().st_ctime_ns)
    assert newest.name == "metrics.json"
    assert [path.name for path in folder.parent.iterdir()] == ["tokenizer"]


def test_the_stage_replaces_an_older_tokenizer_and_nothing_else(corpus, capsys) -> None:
    folder = corpus / "checkpoints" / "tiny" / "tokenizer"
    assert stage(corpus, "tokenizer") == 0
    (folder / "stale").touch()
    assert stage(corpus, "tokenizer", "--kind", "char", "--places", "1") == 0
    assert not (folder / "stale").exists()
    mine = corpus / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert stage(corpus, "tokenizer", "--output_dir", str(mine)) == 2
    assert "holds something that is no tokenizer" in capsys.readouterr().err
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_failure_leaves_no_finished_tokenizer(corpus, monkeypatch) -> None:
    folder = corpus / "checkpoints" / "tiny" / "tokenizer"
    assert stage(corpus, "tokenizer") == 0

    def break_off(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(tokenizer, "sign", break_off)
    assert stage(corpus, "tokenizer", "--kind", "char", "--places", "1") == 1
    assert not (folder / "metrics.json").exists()


def break_manifest(data: Path) -> None:
    (data / "manifest.json").unlink()


def empty_text(data: Path) -> None:
    (data / "pretrain" / "train.jsonl").write_text("\n")


def corrupt_text(data: Path) -> None:
    (data / "pretrain" / "train.jsonl").write_text('{"text": "4"}\n{"text": "5\n')


def foreign_text(data: Path) -> None:
    files.write_jsonl(data / "test" / "seed.jsonl", [{"problem": "Evaluate: 2 * 3"}])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "run make corpus MODEL=tiny"),
        (break_manifest, "run make corpus MODEL=tiny"),
        (empty_text, "run make corpus MODEL=tiny"),
        (corrupt_text, "train.jsonl:2"),
        (foreign_text, "cannot write '*'"),
    ],
)
def test_a_bad_corpus_is_one_line_and_leaves_nothing(corpus, damage, message, capsys) -> None:
    damage(corpus / "data" / "tiny")
    assert stage(corpus, "tokenizer") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (corpus / "checkpoints").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "adapter_model.safetensors", "checkpoint-2/x"])
def test_a_model_is_not_replaced_by_a_tokenizer(corpus, name, capsys) -> None:
    """A checkpoint has a tokenizer.json too, so that alone does not make a folder a tokenizer's."""
    model = corpus / "checkpoints" / "tiny" / "sft"
    for one in ("tokenizer.json", name):
        files.write_text(model / one, "{}")
    before = contents(corpus)
    assert stage(corpus, "tokenizer", "--output_dir", str(model)) == 2
    assert f"holds a model ({name.split('/')[0]}): name another output_dir" in capsys.readouterr().err
    assert contents(corpus) == before


def test_another_tokenizer_in_another_folder_does_not_sign_the_corpus(corpus, capsys) -> None:
    """What was trained on the corpus would be refused from then on; the usual folder is made anew after an edit."""
    assert stage(corpus, "tokenizer", "--kind", "digits") == 0
    data, before = corpus / "data" / "tiny", contents(corpus)
    capsys.readouterr()
    trial = ("--kind", "char", "--places", "1")
    assert stage(corpus, "tokenizer", *trial, "--output_dir", str(corpus / "trial")) == 2
    said = capsys.readouterr().err
    assert f"{data} is signed by another tokenizer" in said
    copy, folder = data.with_name("NAME"), corpus / "checkpoints" / "NAME" / "tokenizer"
    assert f"copy {data} to {copy} and give --dataset_name {copy} --output_dir {folder}" in said
    assert contents(corpus) == before
    shutil.copytree(data, copy)
    assert stage(corpus, "tokenizer", *trial, "--dataset_name", str(copy), "--output_dir", str(folder)) == 0
    assert {name: text for name, text in contents(corpus).items() if "NAME" not in name} == before


def test_the_tokenizer_that_signed_the_corpus_is_replaced_where_it_lies(corpus) -> None:
    for kind in ("digits", "char"):
        assert stage(corpus, "tokenizer", "--kind", kind, "--places", "1", "--output_dir", str(corpus / "own")) == 0


def test_the_usual_tokenizer_is_made_anew_after_an_edit_even_if_the_old_one_is_gone(corpus) -> None:
    folder, manifest = corpus / "checkpoints" / "tiny" / "tokenizer", corpus / "data" / "tiny" / "manifest.json"
    for kind in ("digits", "char"):
        assert stage(corpus, "tokenizer", "--kind", kind, "--places", "1") == 0
        said = files.read_json(folder / "metrics.json")["fingerprint"]
        assert files.read_json(manifest)["tokenizer_fingerprint"] == said
        shutil.rmtree(corpus / "checkpoints")


def test_a_full_disk_names_the_folder(corpus, monkeypatch, capsys) -> None:
    def full(*_: object, **__: object) -> None:
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr(tokenizer.PreTrainedTokenizerFast, "save_pretrained", full)
    assert stage(corpus, "tokenizer") == 1
    place = corpus / "checkpoints" / "tiny"
    said = f"could not write the tokenizer to {place} (No space left on device (os error 28)); what was finished before"
    assert said in capsys.readouterr().err
    assert files.read_json(corpus / "data" / "tiny" / "manifest.json")["tokenizer_fingerprint"] is None


@pytest.mark.parametrize("more", [("--kind", "word"), ("--kind", "bpe", "--vocab_size", "10"), ("--knd", "bpe")])
def test_a_bad_key_is_the_users_mistake(corpus, more) -> None:
    assert stage(corpus, "tokenizer", *more) == 2


def test_a_checkpoints_tokenizer_is_read_without_running_the_models_code(tmp_path, monkeypatch, capsys) -> None:
    tokenizer.train("digits").save_pretrained(tmp_path)
    files.write_json(tmp_path / "config.json", {"model_type": "other", "auto_map": {"AutoConfig": "missing.Config"}})
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked whether to run the model's code"))
    assert main(["tokens", "--tokenizer", str(tmp_path)]) == 0


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_the_table_of_tokens(form, tmp_path, capsys) -> None:
    own = tokenizer.train("digits")
    own.save_pretrained(tmp_path)
    assert main(["tokens", "--tokenizer", str(tmp_path), "--format", form]) == 0
    out = capsys.readouterr().out
    if form == "json":
        assert json.loads(out)[2] == {"id": 2, "token": "<bos>", "text": "<bos>", "special": True}
        assert [row["token"] for row in json.loads(out)] == own.convert_ids_to_tokens(list(range(len(own))))
    elif form == "csv":
        assert out.startswith("id,token,text,special\n0,<pad>,<pad>,True\n")
    else:
        assert len(out.splitlines()) == len(own) + 1
        assert "\\nExpression now:" in out


def test_the_report_of_lengths(corpus, tmp_path, capsys) -> None:
    tokenizer.train("digits").save_pretrained(tmp_path / "own")
    where = ["--tokenizer", str(tmp_path / "own"), "--dataset_name", str(corpus / "data" / "tiny")]
    assert main(["lengths", *where, "--max_length", "20", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    own = tokenizer.train("digits")
    counts = sorted(len(own(text)["input_ids"]) + 1 for text in TEXTS) * 2
    assert (report["problems"], report["min"], report["max"]) == (len(counts), min(counts), max(counts))
    assert report["coverage"]["20"] == sum(count <= 20 for count in counts) / len(counts)
    assert report["max"] <= report["recommended_max_length"] < report["max"] + 8
    assert main(["lengths", *where]) == 0
    assert "recommended_max_length" in capsys.readouterr().out


def test_summary_percentiles_are_lengths_that_hold_that_share() -> None:
    summary = lengths.summarise(range(1, 101))
    assert [summary[name] for name in ("p50", "p90", "p95", "p99", "max")] == [50, 90, 95, 99, 100]
    assert summary["coverage"] == {64: 0.64, 128: 1.0}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["tokens", "--tokenizer", "checkpoints/M/tokenizer"], "run make tokenizer MODEL=M"),
        (["lengths", "--tokenizer", ".", "--dataset_name", "data/M"], "run make corpus MODEL=M"),
        (["lengths", "--tokenizer", ".", "--dataset_name", "data/M", "--max_length", "0"], "--max_length >= 1"),
    ],
)
def test_tables_of_nothing(argv, message, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    assert message in capsys.readouterr().err
