"""Rows of a source, read one after another by `datasets`: local files of text, JSON lines or parquet, or the Hub's.

May not know what the rows are for. Nothing is gathered, so memory is flat; a local text file is one document.
"""

import os
import re
from collections.abc import Iterator
from glob import escape, glob
from itertools import groupby, islice
from lzma import LZMAError
from pathlib import Path
from typing import Any

from datasets import load_dataset
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import HfApi

from arith_hf import files, provenance

KINDS = {"txt": "text", "text": "text", "md": "text", "jsonl": "json", "ndjson": "json", "parquet": "parquet"}
PACKED = ("gz", "zst", "xz", "bz2")
UNREADABLE = (OSError, EOFError, LZMAError, ValueError, DatasetGenerationError)  # what a broken file raises
Row = dict[str, Any]


def texts(path: str, column: str, split: str, passed: int = 0) -> Iterator[str]:
    """The strings of a column, in the order of the files' names; ValueError names the first row without one."""
    for number, row in enumerate(rows(path, split, passed), start=passed + 1):
        text = row.get("text" if "text" in row and len(row) == 1 else column)
        if not isinstance(text, str):
            raise ValueError(f"{path}, row {number}: need a text in the column `{column}`, got {told(row, column)}")
        yield text


def told(row: Row, column: str) -> str:
    return repr(row[column])[:40] if column in row else f"the columns {', '.join(row)}"


def rows(path: str, split: str = "train", passed: int = 0) -> Iterator[Row]:
    """Each row of local files, or of a dataset of the Hub, `name`, `name:config` or either with `@split`.

    As many as were `passed` before are left out.
    """
    found = local(path)
    if found is None:
        name, _, after = path.partition("@")
        yield from reading(path, *from_hub(name), after or split, passed)
        return
    kinds = [(kind, list(of_kind)) for kind, of_kind in groupby(found, kind_of)]
    if len(kinds) == 1:
        yield from of_kinds(path, kinds, passed)
    else:  # how many were of which kind is not known
        yield from islice(of_kinds(path, kinds, 0), passed, None)


def of_kinds(path: str, kinds: list[tuple[str, list[Path]]], passed: int) -> Iterator[Row]:
    for kind, of_kind in kinds:
        paths = [one for one in of_kind if kind != "json" or one.stat().st_size]  # empty ones `datasets` cannot read
        try:
            yield from of_files(kind, paths, passed)
        except UNREADABLE as error:
            odd = next((one for one in paths if not readable(kind, one)), path) if len(paths) > 1 else paths[0]
            raise ValueError(f"{odd} could not be read: {' '.join(str(error).split())}") from error


def of_files(kind: str, paths: list[Path], passed: int = 0) -> Iterator[Row]:
    options: Row = {"sample_by": "document"} if kind == "text" else {}
    if paths:
        named = [escape(str(one)) for one in paths]
        yield from load_dataset(kind, data_files=named, split="train", streaming=True, **options).skip(passed)


def state(path: str) -> str | None:
    """What changes when the rows do: a hash of the local files, the commit of a dataset of the Hub."""
    found = local(path)
    if found is not None:
        return provenance.digest([[str(one), files.sha256(one)] for one in found])
    try:
        return HfApi().dataset_info(from_hub(path.partition("@")[0])[0]).sha
    except Exception:  # it may be read from the cache; what is raised depends on the Hub's http library
        return None


def readable(kind: str, path: Path) -> bool:
    try:
        return all(True for _ in of_files(kind, [path]))
    except UNREADABLE:
        return False


def local(path: str) -> list[Path] | None:
    """The files that a path means, by kind and name; None where it names a dataset of the Hub."""
    place = Path(path)
    if place.is_dir():
        found = [one for one in place.rglob("*") if kind_of(one) and not hidden(one.relative_to(place))]
    elif any(sign in path for sign in "*?["):
        found = [one for one in map(Path, glob(path, recursive=True)) if one.is_file()]
    elif place.is_file():
        found = [place]
    elif path.count("/") > 1 or place.suffix[1:] in (*KINDS, *PACKED) or path.startswith((".", "/", "~", "data/")):
        raise FileNotFoundError(f"no file or folder {path}: {remedy(place)}")
    else:
        return None
    if odd := [one for one in found if not kind_of(one)]:
        raise ValueError(f"{odd[0]}: need files that end in .{', .'.join(KINDS)} (or those and .{', .'.join(PACKED)})")
    if not found:
        raise FileNotFoundError(f"{path} has no files that end in .{', .'.join(KINDS)}")
    return sorted(found, key=lambda one: (kind_of(one), one.as_posix()))


def remedy(place: Path) -> str:
    """What to do where nothing is: data/raw/<model> is what the stage `fetch` fills.

    >>> remedy(Path("data/raw/bilingual/en"))
    '`make fetch MODEL=bilingual` brings it where that has a fetch.yaml; else put it there, or name another'
    """
    fetched = re.search(r"(?:^|/)data/raw/([^/]+)", place.as_posix())
    brings = f"`make fetch MODEL={fetched[1]}` brings it where that has a fetch.yaml; else " if fetched else ""
    return f"{brings}put it there, or name another"


def hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def kind_of(path: Path) -> str:
    """The builder of `datasets` that reads a file; "" where none does."""
    endings = [ending[1:].lower() for ending in path.suffixes]
    if endings and endings[-1] in PACKED:
        endings.pop()
    return KINDS.get(endings[-1], "") if endings else ""


def from_hub(name: str) -> tuple[str, str | None]:
    """
    >>> from_hub("allenai/c4:en"), from_hub("google/boolq")
    (('allenai/c4', 'en'), ('google/boolq', None))
    """
    name, _, config = name.partition(":")
    return name, config or None


def reading(path: str, name: str, config: str | None, split: str, passed: int) -> Iterator[Row]:
    """Rows of the Hub as they stream; ValueError names the source that cannot be read."""
    try:
        stream = iter(load_dataset(name, config, split=split, streaming=True).skip(passed))
    except Exception as error:  # of the Hub's http library, whichever it is
        offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", "")
        hint = " (HF_HUB_OFFLINE is set: HF_HUB_OFFLINE=0 allows the network)" if offline else ""
        raise ValueError(
            f"{path} is no file or folder, and no dataset of the Hub that can be read{hint}: {error}"
        ) from error
    while True:
        try:
            row = next(stream, None)
        except Exception as error:
            raise ValueError(f"{path} could not be read: {' '.join(str(error).split())}") from error
        if row is None:
            return
        yield row
