"""Rows are those of the file as it is now, and a row that cannot be learned is named with its line."""

import errno
import os
import re

import pytest
from conftest import stage
from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from arith_hf import files
from arith_hf.train import data

COLUMNS = ("prompt", "completion")


def pair(place: int, name: str) -> dict[str, str]:
    return {"prompt": f"{name}{place}", "completion": name}


def upper(row: dict[str, str]) -> dict[str, str]:
    return {"seen": row["prompt"].upper()}


def test_rows_are_those_of_the_content_not_of_the_path_and_its_time(tmp_path):
    """As `cp -p` leaves it: another content under the same path, size and time; and the first one again."""
    path = tmp_path / "rows.jsonl"
    found = []
    for name in "aba":
        files.write_jsonl(path, [pair(place, name) for place in range(4)])
        os.utime(path, ns=(10**18, 10**18))
        train, validation = data.load(str(path), "sft", COLUMNS)
        made = train.map(upper)
        found.append((made._fingerprint, made.cache_files))
        assert {*train["completion"], *validation["completion"]} == {name}
        assert {seen[0] for seen in made["seen"]} == {name.upper()}
    assert found[0] == found[2]  # and is not made again
    assert found[0] != found[1]


def test_a_corpus_too_is_read_as_it_is(tmp_path):
    for name in "ab":
        for split in ("train", "validation"):
            path = tmp_path / f"tiny/sft/{split}.jsonl"
            files.write_jsonl(path, [pair(0, name)])
            os.utime(path, ns=(10**18, 10**18))
        listed = {f"sft/{path.name}": {"sha256": files.sha256(path)} for path in (tmp_path / "tiny/sft").iterdir()}
        files.write_json(tmp_path / "tiny/manifest.json", {"files": listed})
        assert [rows["completion"] for rows in data.load(str(tmp_path / "tiny"), "sft", COLUMNS)] == [[name]] * 2


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    files.write_jsonl(path, [pair(0, "a")])

    def slow(*arguments, **options):
        rows = load_dataset(*arguments, **options)
        with path.open("a") as stream:
            stream.write("{}\n")
        return rows

    monkeypatch.setattr(data, "load_dataset", slow)
    with pytest.raises(ValueError, match="was changed while it was read"):
        data.read(path, COLUMNS)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(
    ("value", "said"), [("null", "null"), ("5", "5"), ("[1, 2]", "[1, 2]"), ('{"a": 1}', '{"a": 1}'), ("true", "true")]
)
@pytest.mark.parametrize("alone", [True, False])
def test_what_is_no_string_is_named_with_line_and_column(tmp_path, column, value, said, alone):
    other = next(one for one in COLUMNS if one != column)
    path = tmp_path / "rows.jsonl"
    row = f'{{"{other}": "x", "{column}": {value}}}\n'
    path.write_text(row * 2 if alone else f'{{"{other}": "x", "{column}": "y"}}\n\n{row}')
    line = 1 if alone else 3
    with pytest.raises(
        ValueError, match=re.escape(f"{path}:{line}: need a string in the column `{column}`, got {said}")
    ):
        data.load(str(path), "sft", COLUMNS)


def test_a_row_without_a_column_that_others_have(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "x"}\n{"txet": "y"}\n')
    with pytest.raises(ValueError, match=f"{path}:2: need a string in the column `text`, got no such column"):
        data.read(path, ["text"])


def test_dates_are_no_texts(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "2024-01-01"}\n')
    with pytest.raises(ValueError, match=re.escape(f"{path}: need strings in `text`, and `datasets` reads Value(")):
        data.read(path, ["text"])


def test_a_full_cache_is_no_mistake_of_the_rows(road, tmp_path, monkeypatch, capsys):
    def full(*arguments, **options):
        raise DatasetGenerationError from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(data, "load_dataset", full)
    assert stage(road, "sft", "--output_dir", str(tmp_path / "sft")) == 1
    said = capsys.readouterr().err
    assert "could not read the rows into the cache of `datasets`: [Errno 28] No space left on device" in said
    assert "one set of columns" not in said


def test_where_no_row_fits_dropping_them_is_no_advice():
    rows = Dataset.from_dict({"text": ["a", "b"]})
    with pytest.raises(ValueError, match=r"max_length 4 cannot hold 2 of 2 rows .*: set max_length to 5 or more$"):
        data.keep(rows, [9, 5], 4, "drop")
