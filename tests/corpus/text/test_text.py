"""A corpus of natural text as a whole: what is written, what is left out and counted, and that nothing leaks."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow
import pytest
from datasets import disable_progress_bars, enable_progress_bars, get_dataset_config_names, load_dataset
from pyarrow import parquet

from arith_hf import corpus, files
from arith_hf.__main__ import main
from arith_hf.corpus.text import Arguments, sources
from arith_hf.text.words import normalised

SAMPLE = Path(__file__).parents[2] / "data" / "text"
NUMBERS = "zero one two three four five six seven eight nine".split()  # noqa: SIM905


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


def spelt(number: int) -> str:
    return " ".join(NUMBERS[int(digit)] for digit in f"{number:04d}")


def document(number: int, kind: str = "tale") -> str:
    """Prose of its own for each number: no two share six words in a row."""
    words = [f"{kind}{number}x{place}" if place % 3 else spelt(number * 37 + place) for place in range(40)]
    return " ".join(words) + "."


def write_jsonl(path: Path, rows: list[dict]) -> str:
    files.write_jsonl(path, rows)
    return str(path)


def source(tmp_path: Path, count: int = 120, kind: str = "tale") -> str:
    return write_jsonl(tmp_path / f"{kind}.jsonl", [{"text": document(number, kind)} for number in range(count)])


def make(folder: Path, **keys) -> dict:
    keys = {"sources": ["a"], "validation_share": 0.1, "test_share": 0.1} | keys
    return corpus.build(Arguments(output_dir=str(folder), **keys))


def rows(folder: Path, name: str) -> list[dict]:
    return list(files.read_jsonl(folder / name))


def written(folder: Path) -> dict[str, bytes]:
    """Every file but the one that tells of the run."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_the_sample_becomes_a_corpus_of_two_sources(tmp_path):
    """Whole text files, one document each, in both languages."""
    folder = tmp_path / "data"
    keys = {"sources": ["en", "es"], "source_paths": [str(SAMPLE / "en"), str(SAMPLE / "es")]}
    manifest = make(folder, **keys, source_languages=["en", "es"], validation_share=0.3, test_share=0.2)
    found = {name: rows(folder, name) for name in manifest["files"]}
    assert {"pretrain/train.jsonl", "pretrain/validation.jsonl"} <= set(found)
    texts = [row["text"] for part in found.values() for row in part]
    assert len(texts) == len(set(texts)) == 12
    assert "El faro ya no tiene farero." in "".join(texts)
    assert all("\n\n" in text and text == text.strip() for text in texts), "paragraphs stay"
    for name, part in found.items():
        assert all(set(row) == {"text", "source"} for row in part)
        assert manifest["files"][name]["rows"] == len(part)
        assert manifest["files"][name]["characters"] == sum(len(row["text"]) for row in part)
        assert manifest["files"][name]["sha256"] == files.sha256(folder / name)
        if name.startswith("test/"):
            assert {row["source"] for row in part} == {name.removeprefix("test/").removesuffix(".jsonl")}
    assert (manifest["task"], manifest["tokenizer_fingerprint"]) == ("text", None)
    assert set(manifest["overlap"].values()) == {0}


def test_what_each_filter_removed_is_counted_and_adds_up(tmp_path):
    kept = [document(number) for number in range(150)]
    nearly = [kept[number].replace(f"tale{number}x1 ", "changed ") for number in range(30, 40)]
    odd = ["too short", "", "\u200b \n", kept[3], kept[3].upper(), *nearly, "# {} | " * 40]
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in kept + odd])
    manifest = make(tmp_path / "m", source_paths=[path], min_characters=50, max_symbols_per_word=0.5)
    told = manifest["sources"]["a"]
    removed = {"empty": 2, "min_characters": 1, "exact_duplicates": 2, "near_duplicates": 10, "max_symbols_per_word": 1}
    assert told["removed"] == dict(sorted(removed.items()))
    assert told["read"]["documents"] == len(kept) + len(odd)
    assert sum(told["kept"].values()) + sum(told["removed"].values()) == told["read"]["documents"]
    by_split = Counter()
    for name, counts in manifest["files"].items():
        by_split["test" if name.startswith("test") else name.split("/")[1].removesuffix(".jsonl")] += counts["rows"]
    assert by_split == told["kept"]


def test_no_training_text_shares_words_with_what_is_measured(tmp_path):
    """Neither with a test document, nor with a passage of yes or no, nor with a file that is named."""
    plain = make(tmp_path / "plain", source_paths=[source(tmp_path)])
    tests = rows(tmp_path / "plain", "test/a.jsonl")
    trained = [row["text"] for row in rows(tmp_path / "plain", "pretrain/train.jsonl")]
    quoting = [f"Somebody said: {row['text']} And {document(number, 'own')}" for number, row in enumerate(tests)]
    more = [{"text": text} for text in [document(number) for number in range(120)] + quoting]
    asked = [{"question": "Is it?", "passage": trained[0], "answer": True}]
    named = write_jsonl(tmp_path / "named.jsonl", [{"anything": trained[1]}])
    manifest = make(
        tmp_path / "m",
        source_paths=[write_jsonl(tmp_path / "more.jsonl", more)],
        evaluation_paths=[named],
        yesno=[write_jsonl(tmp_path / "asked.jsonl", asked)],
    )
    left = [row["text"] for name in ("train", "validation") for row in rows(tmp_path / "m", f"pretrain/{name}.jsonl")]
    measured = {row["text"] for row in rows(tmp_path / "m", "test/a.jsonl")}
    assert not [text for text in quoting if text in left], "each is in the test set itself, or left out"
    assert trained[0] not in left
    assert trained[1] not in left
    assert set(trained[2:]) <= set(left), "and nothing else"
    assert {row["text"] for row in tests} <= measured
    assert manifest["sources"]["a"]["removed"] == {
        "contaminated": 2 + len([text for text in quoting if text not in measured])
    }
    assert "contaminated" not in plain["sources"]["a"]["removed"]


def test_no_training_text_shares_words_with_a_validation_text(tmp_path):
    """A loss on what was trained on in part would choose the step that remembers best."""
    make(tmp_path / "plain", source_paths=[source(tmp_path)])
    held = [row["text"] for row in rows(tmp_path / "plain", "pretrain/validation.jsonl")]
    quoting = [f"Somebody said: {text} And {document(number, 'own')}" for number, text in enumerate(held)]
    more = [{"text": text} for text in [document(number) for number in range(120)] + quoting]
    manifest = make(tmp_path / "m", source_paths=[write_jsonl(tmp_path / "more.jsonl", more)])
    assert not set(quoting) & {row["text"] for row in rows(tmp_path / "m", "pretrain/train.jsonl")}
    assert set(held) & {row["text"] for row in rows(tmp_path / "m", "pretrain/validation.jsonl")}
    assert manifest["sources"]["a"]["removed"]["contaminated"] > 0


@pytest.mark.parametrize("key", ["conversations", "preferences", "yesno"])
def test_a_document_that_is_a_prompt_of_another_split_is_left_out_and_counted(key, tmp_path):
    """Else the proof at the end would refuse the corpus, after all the work."""
    prompts = [document(number) for number in range(60)]
    made = {
        "conversations": [{"prompt": one, "completion": "Yes.", "topic": f"t{one}"} for one in prompts],
        "preferences": [{"prompt": one, "chosen": "Yes.", "rejected": "No.", "topic": f"t{one}"} for one in prompts],
        "yesno": [{"passage": one[:90], "question": one[91:], "answer": True} for one in prompts],
    }
    manifest = make(
        tmp_path / "m",
        source_paths=[source(tmp_path)],
        contamination_words=0,
        **{key: [write_jsonl(tmp_path / f"{key}.jsonl", made[key])]},
    )
    assert set(manifest["overlap"].values()) == {0}
    told = manifest["sources"]["a"]
    assert set(told["removed"]) == {"prompt_of_another_split"}
    assert 0 < told["removed"]["prompt_of_another_split"] <= 60, "no document but the prompts"
    assert sum(told["kept"].values()) + told["removed"]["prompt_of_another_split"] == 120


def test_the_texts_of_an_evaluation_are_found_however_deep_they_lie(tmp_path):
    """Else a set of conversations would be trained on, and nothing said."""
    asked = [{"messages": [{"role": "user", "content": document(number)}]} for number in range(120)]
    named = write_jsonl(tmp_path / "named.jsonl", asked)
    with pytest.raises(
        ValueError, match="nothing to train on is left of the source a: 120 read, removed by contaminated"
    ):
        make(tmp_path / "m", source_paths=[source(tmp_path)], evaluation_paths=[named])


def test_the_split_is_the_texts_own(tmp_path):
    """Another order, other company, another seed: a text stays where it is."""

    def sides(folder: Path) -> dict[str, str]:
        names = ("pretrain/train.jsonl", "pretrain/validation.jsonl", "test/a.jsonl")
        return {row["text"]: name for name in names for row in rows(folder, name)}

    make(tmp_path / "one", source_paths=[source(tmp_path)])
    back = [{"text": document(number)} for number in reversed(range(200))]
    make(tmp_path / "two", source_paths=[write_jsonl(tmp_path / "back.jsonl", back)], seed=5)
    one, two = sides(tmp_path / "one"), sides(tmp_path / "two")
    assert one.items() <= two.items()
    assert len(two) == 200


def test_the_same_recipe_makes_the_same_bytes_and_shards_hold_the_same_rows(tmp_path):
    path = source(tmp_path)
    for name in ("one", "two"):
        make(tmp_path / name / "m", source_paths=[path])
    assert written(tmp_path / "one" / "m") == written(tmp_path / "two" / "m")
    make(tmp_path / "three" / "m", source_paths=[path], shard_size=5000)
    shards = sorted((tmp_path / "three" / "m" / "pretrain").glob("train-*.jsonl"))
    assert len(shards) > 3
    assert [path.name for path in shards[:2]] == ["train-00000.jsonl", "train-00001.jsonl"]
    whole = rows(tmp_path / "one" / "m", "pretrain/train.jsonl")
    assert [row for path in shards for row in files.read_jsonl(path)] == rows(
        tmp_path / "one" / "m", "pretrain/train.jsonl"
    )
    assert all(sum(len(row["text"]) for row in files.read_jsonl(path)) >= 5000 for path in shards[:-1])
    loaded = load_dataset(str(tmp_path / "three" / "m"), "pretrain", cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == len(whole), "by its card"


def test_a_budget_ends_the_reading_of_a_source(tmp_path):
    paths = [source(tmp_path, kind="tale"), source(tmp_path, kind="song")]
    manifest = make(tmp_path / "m", sources=["a", "b"], source_paths=paths, source_budgets=[10_000, 0])
    kept = [row for name in manifest["files"] for row in rows(tmp_path / "m", name)]
    characters = sum(len(row["text"]) for row in kept if row["source"] == "a")
    assert 10_000 <= characters < 10_000 + len(document(0)) + 100
    assert manifest["sources"]["a"]["read"]["documents"] < 120 == manifest["sources"]["b"]["read"]["documents"]
    told = {
        name: (one["kept_characters"], one["budget"]) for name, one in manifest["sources"].items() if "budget" in one
    }
    assert told == {"a": (characters, 10_000)}


def test_a_budget_that_a_source_is_too_short_for_is_told(tmp_path, capsys):
    paths = [source(tmp_path, kind=kind) for kind in ("tale", "song", "poem")]
    argv = ["corpus", "--task", "text", "--sources", "a", "b", "c", "--source_paths", *paths]
    argv += ["--source_budgets", "10000", "0", "1000000", "--output_dir", str(tmp_path / "m")]
    assert main(argv) == 0
    told = files.read_json(tmp_path / "m" / "manifest.json")["sources"]
    kept = sum(len(document(number, "poem")) for number in range(120))
    assert [told[name].get("budget_reached") for name in "abc"] == [True, None, False]
    assert (told["c"]["budget"], told["c"]["kept_characters"]) == (1_000_000, kept)
    printed = capsys.readouterr().out
    assert f"c has no more: {kept:,} characters are left, of the 1,000,000 of its budget." in printed
    assert not re.search("^[ab] (has|was)", printed, re.MULTILINE)


def test_characters_that_an_evaluation_takes_away_are_not_counted_as_kept(tmp_path):
    """The reading ended at the budget all the same."""
    named = write_jsonl(tmp_path / "named.jsonl", [{"text": document(number)} for number in range(10)])
    keys = {"source_paths": [source(tmp_path)], "source_budgets": [20_000], "evaluation_paths": [named]}
    manifest = make(tmp_path / "m", **keys)
    told = manifest["sources"]["a"]
    kept = sum(counts["characters"] for counts in manifest["files"].values())
    assert told["removed"]["contaminated"] > 0
    assert told["kept_characters"] == kept < 20_000 <= kept + told["removed_characters"]["contaminated"]
    assert told["budget_reached"] is True


def test_no_more_documents_test_than_are_asked_for_and_none_of_them_is_trained_on(tmp_path):
    path = source(tmp_path)
    make(tmp_path / "all", source_paths=[path])
    manifest = make(tmp_path / "few", source_paths=[path], num_test=2, num_validation=3)
    tests = {row["text"] for row in rows(tmp_path / "all", "test/a.jsonl")}
    assert len(rows(tmp_path / "few", "test/a.jsonl")) == 2 < len(tests)
    assert len(rows(tmp_path / "few", "pretrain/validation.jsonl")) == 3
    assert not tests & {row["text"] for row in rows(tmp_path / "few", "pretrain/train.jsonl")}
    assert manifest["sources"]["a"]["removed"]["beyond_num_test"] == len(tests) - 2


def test_a_document_that_no_line_can_hold_is_left_out_and_counted(tmp_path):
    """It could be written, and then no stage would read the file."""
    long = ["ábc\nd" * (files.LONGEST_LINE // 7), "wxyz " * (files.LONGEST_LINE // 7)]  # 7 bytes of JSON, and 5
    texts = [*long, *map(document, range(60))]
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    manifest = make(tmp_path / "m", source_paths=[path], near_duplicate_threshold=1.0)
    assert manifest["sources"]["a"]["removed"] == {"longer_than_8_MiB": 1}
    assert sum(manifest["sources"]["a"]["kept"].values()) == 61


@pytest.mark.parametrize("kind", ["folder", "pattern", "parquet", "column", "packed"])
def test_every_kind_of_local_source_gives_the_same_documents(kind, tmp_path):
    texts = [document(number) for number in range(40)]
    place = tmp_path / "raw"
    place.mkdir()
    keys: dict = {"source_paths": [str(place)]}
    if kind in ("folder", "pattern"):
        for number, text in enumerate(texts):
            (place / f"{number:03d}.txt").write_text(text, encoding="utf-8")
        (place / ".hidden.txt").write_text(document(999), encoding="utf-8")
        keys = {"source_paths": [str(place / "*.txt")]} if kind == "pattern" else keys
    elif kind == "parquet":
        parquet.write_table(pyarrow.table({"text": texts, "id": list(range(40))}), place / "a.parquet")
    elif kind == "column":
        files.write_jsonl(place / "a.jsonl", [{"id": 1, "body": text} for text in texts])
        keys["source_columns"] = ["body"]
    else:
        import gzip

        (place / "a.jsonl.gz").write_bytes(
            gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
        )
    manifest = make(tmp_path / "m", **keys)
    assert {row["text"] for name in manifest["files"] for row in rows(tmp_path / "m", name)} == set(texts)


def test_analyze_only_prints_the_plan_before_anything_is_read(tmp_path, capsys):
    argv = [
        "corpus",
        "--task",
        "text",
        "--analyze_only",
        "true",
        "--sources",
        "a",
        "b",
        "--source_columns",
        "text",
        "body",
    ]
    argv += ["--source_paths", source(tmp_path), "no/such/[ab].jsonl", "--source_languages", "en", "any"]
    argv += ["--source_budgets", "12345", "0", "--min_words", "7", "--urls", "token", "--validation_share", "0.125"]
    argv += [
        "--evaluation_paths",
        "some/asked.jsonl",
        "--yesno",
        "some/yesno.jsonl",
        "--output_dir",
        str(tmp_path / "m"),
    ]
    assert main(argv) == 2, "a file is not there"
    printed = capsys.readouterr()
    assert "no/such/[ab].jsonl" in printed.err
    plan = " ".join(printed.out.split())
    for said in (
        *("12,345", "body", "no/such/[ab].jsonl", "train"),
        "filters: urls token, min_words 7, the language of each source",
        "duplicates: exact ones are left out, and near ones (near_duplicate_threshold 0.7)",
        "splits: validation 12.5 % (at most 1,000 documents of each source), test 5 %",
        "decontaminated against: the test and validation documents, the questions and passages of some/yesno.jsonl, "
        "some/asked.jsonl (contamination_words 13)",
        f"to be written: {tmp_path / 'm'} All of it is read to be counted; smaller source_budgets count a sample.",
    ):
        assert said in plan, plan
    assert not (tmp_path / "m").exists()


def test_analyze_only_prints_the_counts_and_writes_nothing(tmp_path, capsys):
    argv = ["corpus", "--task", "text", "--sources", "a", "--source_paths", source(tmp_path)]
    argv += ["--output_dir", str(tmp_path / "m"), "--validation_share", "0.1", "--test_share", "0.1"]
    before = sorted(tmp_path.rglob("*"))
    assert main([*argv, "--analyze_only", "true"]) == 0
    counted = capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    assert main(argv) == 0
    for counts in files.read_json(tmp_path / "m" / "manifest.json")["files"].values():
        assert f"{counts['rows']:,}" in counted
    assert "(nothing written)" in counted


def test_an_interrupted_count_goes_on_hidden_and_apart_from_the_corpus(tmp_path, monkeypatch, capsys, caplog):
    argv = ["corpus", "--task", "text", "--sources", "a", "--source_paths", source(tmp_path)]
    argv += ["--output_dir", str(tmp_path / "m")]
    read = sources.texts

    def stopped(*asked: object) -> Iterator[str]:
        yield from islice(read(*asked), 50)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sources, "texts", stopped)
        assert main([*argv, "--analyze_only", "true"]) == 1
    aside = tmp_path / ".m.analyzed"
    assert f"goes on behind the last document that was judged (in {aside})" in capsys.readouterr().err
    assert aside.is_dir()
    assert not (tmp_path / "m").exists()
    assert main([*argv, "--analyze_only", "true"]) == 0
    assert "in which 50 documents are judged" in caplog.text
    caplog.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tale.jsonl"]
    assert main(argv) == 0
    assert "going on" not in caplog.text


def test_one_text_file_is_told_to_be_one_document(tmp_path, capsys):
    (tmp_path / "book.txt").write_text(document(1), encoding="utf-8")
    argv = ["corpus", "--task", "text", "--sources", "a", "--source_paths", str(tmp_path / "book.txt")]
    assert main([*argv, "--output_dir", str(tmp_path / "m")]) == 2
    told = "no document is left for validation: there are 1 (a .txt file is one document, JSONL has one a line): raise"
    assert told in capsys.readouterr().err


def test_what_became_of_each_source_is_told_where_nothing_is_left_of_one(tmp_path, capsys):
    """With the keys that have removed it; so it is where conversations are left out, before documents are read."""
    paths = [source(tmp_path), *(write_jsonl(tmp_path / f"{kind}.jsonl", [{"text": "x"}] * 3) for kind in "bc")]
    argv = ["corpus", "--task", "text", "--sources", "a", "b", "c", "--source_paths", *paths]
    argv += ["--source_languages", "any", "any", "es", "--output_dir", str(tmp_path / "m"), "--analyze_only", "true"]
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert "nothing to train on is left of the source c: 3 read, removed by source_languages 3" in printed.err
    cells = [[cell.strip() for cell in line.split("│")] for line in printed.out.splitlines() if "│" in line]
    lines = {row[1]: row[2:-1] for row in cells}
    assert lines["- source_languages"] == ["", "", "3 (3)"]
    assert lines["train"][2] == "0"
    talks = write_jsonl(tmp_path / "talks.jsonl", [{"prompt": f"Ask {n}", "completion": ""} for n in range(3)])
    assert main([*argv, "--conversations", talks]) == 2
    assert "conversations: 3 read, none; removed: empty 3" in capsys.readouterr().out


def test_an_interrupted_corpus_is_known_as_one_and_begun_again(tmp_path, monkeypatch):
    path = source(tmp_path)
    whole = make(tmp_path / "one" / "m", source_paths=[path])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("arith_hf.corpus.text.documents.write_shards", stop)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "two" / "m", source_paths=[path])
    assert not (tmp_path / "two" / "m" / "manifest.json").exists()
    (tmp_path / "two" / "m" / "pretrain" / ".left.1.part").write_text("of a killed run", encoding="utf-8")
    assert make(tmp_path / "two" / "m", source_paths=[path]) == whole
    assert written(tmp_path / "one" / "m") == written(tmp_path / "two" / "m")


@pytest.mark.parametrize("key", ["conversations", "preferences", "yesno"])
def test_rows_of_another_form_are_told_before_an_earlier_corpus_is_lost(key, tmp_path):
    path = source(tmp_path)
    make(tmp_path / "m", source_paths=[path])
    before = written(tmp_path / "m")
    with pytest.raises(ValueError, match=r"tale\.jsonl, row 1: need the columns"):
        make(tmp_path / "m", source_paths=[path], **{key: [path]})
    assert written(tmp_path / "m") == before


def test_texts_of_ones_own_and_of_another_recipe(tmp_path):
    own = tmp_path / "m" / "pretrain" / "train.jsonl"
    write_jsonl(own, [{"text": "my only copy"}])
    with pytest.raises(ValueError, match="is of no corpus of ours"):
        make(tmp_path / "m", source_paths=[source(tmp_path)])
    assert rows(tmp_path / "m", "pretrain/train.jsonl") == [{"text": "my only copy"}]
    make(tmp_path / "n", sources=["old"], source_paths=[source(tmp_path)], shard_size=3000)
    make(tmp_path / "n", source_paths=[source(tmp_path)])
    assert sorted(path.name for path in (tmp_path / "n" / "test").iterdir()) == ["a.jsonl"]
    assert [path.name for path in (tmp_path / "n" / "pretrain").glob("train*")] == ["train.jsonl"]


def test_the_card_says_whose_texts_these_are(tmp_path):
    raw = tmp_path / "raw"
    write_jsonl(raw / "en" / "x.jsonl", [{"text": document(number)} for number in range(60)])
    files.write_json(raw / "provenance.json", {"stage": "fetch"})
    told = {"version": "1.0", "licenses": ["GPL-3+"], "sha256": "0" * 64}
    files.write_json(raw / "manifest.json", {"packages": {"manpages": told}})
    manifest = make(tmp_path / "m", source_paths=[str(raw / "en")])
    assert list(manifest["fetched"]) == [str(raw)]
    made = files.read_json(tmp_path / "m" / "provenance.json")
    assert made["data"] == {"path": str(raw), "sha256": files.sha256(raw / "manifest.json")}, "lineage follows it"
    assert [one["stage"] for one in made["ancestors"]] == ["fetch"]
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert "`manpages` 1.0: GPL-3+" in card
    assert not any(
        word in card.partition("## Recipe")[0] for word in ("messages", "chosen", "yesno", "evaluation_paths")
    )
    assert "13 words in a row with a test document or a validation document." in card


def test_every_configuration_of_the_card_loads(tmp_path):
    """Those of other columns are not splits of one."""
    talk = [{"prompt": f"Ask {n}", "completion": f"Say {n}"} for n in range(60)]
    pairs = [{"prompt": f"Which {n}?", "chosen": "Right.", "rejected": "Wrong."} for n in range(60)]
    asked = [{"question": f"Is it {n}?", "passage": f"It is {n}.", "answer": True} for n in range(3)]
    keys = {"conversations": talk, "preferences": pairs, "yesno": asked}
    paths = {name: [write_jsonl(tmp_path / f"{name}.jsonl", listed)] for name, listed in keys.items()}
    both = {"sources": ["a", "b"], "source_paths": [source(tmp_path), source(tmp_path, kind="song")]}
    manifest = make(tmp_path / "m", **both, **paths, shard_size=10_000)
    found = {}
    for config in get_dataset_config_names(str(tmp_path / "m")):
        found[config] = load_dataset(str(tmp_path / "m"), config, cache_dir=str(tmp_path / "cache"))
    assert {config: set(splits) for config, splits in found.items()} == {
        "pretrain": {"train", "validation"},
        "sft": {"train", "validation"},
        "preferences": {"train", "validation", "test"},
        "test": {"a", "b"},
        "yesno": {"test"},
    }
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert all(f"- `{column}`" in card for column in ("text", "messages", "prompt", "question"))
    assert "training document shares 13 words in a row with a test document, a passage or question of" in card
    assert "or a validation document." in card
    assert "No conversation or preference to learn from shares them with a test document, a passage or" in card
    assert "or a prompt or better answer of `test/preferences.jsonl`." in card
    loaded = sum(len(part) for splits in found.values() for part in splits.values())
    assert loaded == sum(counts["rows"] for counts in manifest["files"].values())


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"sources": []}, "need sources"),
        ({"sources": ["a", "a"], "source_paths": ["x", "y"]}, "names of their own"),
        ({"sources": ["yesno"], "source_paths": ["x"]}, "not preferences or yesno"),
        ({"sources": ["../a"], "source_paths": ["x"]}, "letters, digits"),
        ({"source_paths": ["x", "y"]}, "need 1 source_paths, one for each source, got 2"),
        ({"source_paths": ["x"], "source_columns": ["a", "b"]}, "need 1 source_columns"),
        ({"source_paths": ["x"], "validation_share": 0.6, "test_share": 0.5}, "validation_share"),
        ({"source_paths": ["x"], "near_duplicate_threshold": 0.0}, "near_duplicate_threshold"),
        ({"source_paths": ["x"], "source_languages": ["klingon"]}, "klingon"),
        ({"source_paths": ["x"], "shard_size": 0}, "need shard_size >= 1, got 0"),
        ({"source_paths": ["data/nowhere"]}, "no file or folder data/nowhere"),
        ({"source_paths": ["./nowhere.jsonl"]}, "no file or folder ./nowhere.jsonl: put it there, or name another"),
        ({"source_paths": ["data/raw/nowhere/en"]}, "en: `make fetch MODEL=nowhere` brings it where that has"),
    ],
)
def test_what_cannot_be_made_is_told_before_anything_is_lost(keys, problem, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=problem.replace(".", r"\.")):
        make(tmp_path / "m", **keys)
    assert not (tmp_path / "m").exists()


def test_a_source_that_is_broken_or_has_another_column_is_named(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"body": "x"}])
    with pytest.raises(ValueError, match=r"a\.jsonl, row 1: need a text in the column `text`, got the columns body"):
        make(tmp_path / "m", source_paths=[path])
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n{"text": \n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.jsonl could not be read"):
        make(tmp_path / "m", source_paths=[str(tmp_path / "b.jsonl")])
    (tmp_path / "c.csv").write_text("text\nx\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"c\.csv: need files that end in \.txt"):
        make(tmp_path / "m", source_paths=[str(tmp_path / "c.csv")])
    with pytest.raises(ValueError, match="left of the source a: 120 read, removed by min_characters 120"):
        make(tmp_path / "m", source_paths=[source(tmp_path)], min_characters=10**6)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 1000, mtime=0)[:40]),
        ("b.txt.gz", b"plain"),
        ("b.txt.xz", b"plain"),
        ("b.txt.bz2", b"plain"),
        ("b.parquet", b""),
        ("b.txt", b"caf\xe9"),
        ("b.jsonl", b"plain"),
    ],
)
def test_the_file_that_is_broken_is_named_among_others(name, content, tmp_path):
    for other in ("a", "c"):
        write_jsonl(tmp_path / f"{other}.jsonl", [{"text": "x"}])
        (tmp_path / f"{other}.txt").write_text("x", encoding="utf-8")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path / name))} could not be read: ."):
        list(sources.texts(str(tmp_path), "text", "train"))


def test_empty_files_have_no_rows_and_empty_texts_are_counted(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "empty.txt").touch()
    assert list(sources.texts(str(tmp_path), "text", "train")) == [""]
    assert list(sources.texts(str(tmp_path / "empty.jsonl"), "text", "train")) == []


def test_the_hub_is_named_in_what_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"nobody/nothing is no file or folder, .* HF_HUB_OFFLINE=0 allows"):
        make(tmp_path / "m", source_paths=["nobody/nothing"])


def test_texts_are_told_apart_as_the_split_tells_them(tmp_path):
    manifest = make(tmp_path / "m", source_paths=[source(tmp_path)])
    for name, counts in manifest["files"].items():
        assert counts["distinct"] == len({normalised(row["text"]) for row in rows(tmp_path / "m", name)})
