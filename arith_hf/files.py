"""Files that are whole or absent: text, JSON and JSON lines, written aside and renamed.

May not know what the files mean. A reader that finds a broken file names it, the line and the column. The lines of data
are read more strictly than Python does: each key once, no NaN, no half of a surrogate pair, nothing too long or deep.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

LOCK = ".lock"
LONGEST_LINE = 1 << 23  # bytes of a JSON line: the longest working takes four million; any is parsed in half a second
LARGEST_JSON = 1 << 26  # bytes of a JSON file: a log of a hundred thousand entries takes a quarter
DEEPEST = 100  # lists and objects inside one another: what was read is written again, which needs more of the stack


def write_with(path: str | Path, write: Callable[[IO[Any]], object], binary: bool = False) -> None:
    """Open a neighbour of `path`, let `write` fill it, rename it to `path`; on any failure the old file stays."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") if binary else aside.open("w", encoding="utf-8", newline="\n") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    write_with(path, lambda stream: stream.write(text))


def write_bytes(path: str | Path, content: bytes) -> None:
    write_with(path, lambda stream: stream.write(content), binary=True)


def write_json(path: str | Path, content: Any) -> None:
    write_text(path, to_json(content))


def write_mark(path: str | Path, content: Any, started: float) -> None:
    """The last JSON file of a stage, dated at the stage's start: for make, what was edited while it ran is newer."""
    write_json(path, content)
    os.utime(path, (started, started))


def to_json(content: Any, indent: int | None = 2) -> str:
    """The text of a JSON file, as `write_json` writes it; a number that JSON has none for is its name, see `named`."""
    try:
        text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(named(content), indent=indent, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def named(content: Any) -> Any:
    """The content with names, which `float` reads back, for what are no finite numbers: such as a loss that diverged.

    >>> named({"loss": [math.nan, -math.inf, 1.5]}), math.isnan(float("NaN"))
    ({'loss': ['NaN', '-Infinity', 1.5]}, True)
    """
    if isinstance(content, dict):
        return {key: named(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [named(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return "NaN" if math.isnan(content) else "Infinity" if content > 0 else "-Infinity"
    return content


def write_jsonl(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    write_with(path, lambda stream: stream.writelines(to_json(row, indent=None) for row in rows))


def read_text(path: str | Path) -> str:
    """Text of a file; ValueError with its name where it is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from error


def read_json(path: str | Path) -> Any:
    """Content of a JSON file; ValueError names the file, line and column of what is broken.

    NaN is taken, which trainer_state.json may have; files of ours have its name.
    """
    if (size := Path(path).stat().st_size) > LARGEST_JSON:
        raise ValueError(f"{path}: need a JSON file of at most {LARGEST_JSON} bytes, got {size}")
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # a number or a nesting that is too much for Python
        raise ValueError(f"{path}: not JSON that can be read ({error})") from error


def read_object(path: str | Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object; ValueError where it holds anything else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: need a JSON object, got {type(content).__name__}")
    return content


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file, blank lines skipped; ValueError names the file and line of the first broken row."""
    for number, line in numbered(path):
        yield parse_row(line, f"{path}:{number}")


def numbered(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers; of one longer than LONGEST_LINE so much that it is seen."""
    with Path(path).open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            rest = line
            while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
                rest = stream.readline(LONGEST_LINE + 1)
            if len(line) > LONGEST_LINE or line.strip():
                yield number, line


def parse_row(line: bytes, where: str) -> dict[str, Any]:
    """One JSON object; ValueError begins with `where` and names the column, where it is known."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"{where}: need lines of at most {LONGEST_LINE} bytes, got a longer one")
    try:
        text = line.decode("utf-8")
        row = json.loads(text, object_pairs_hook=each_once, parse_float=finite, parse_constant=finite)
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair can be read but not written
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: broken line, not a JSON object ({error.msg} at column {error.colno})") from error
    except UnicodeDecodeError as error:
        at = f"{error.reason} at byte {error.start + 1}"
        raise ValueError(f"{where}: broken line, not UTF-8 ({at})") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: broken line, half of a surrogate pair ({error.object[error.start]!r})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: broken line, not a JSON object ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: need a JSON object, got {type(row).__name__}")
    if line.count(b"[") + line.count(b"{") > DEEPEST and deeper(row, DEEPEST):
        raise ValueError(f"{where}: need at most {DEEPEST} lists and objects inside one another, got more")
    return row


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values; of a key that stands twice JSON's readers keep one or the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {twice[:40]!r} stands twice")
    return found


def finite(number: str) -> float:
    """The float that this text writes; ValueError for NaN and for what is too large to be one."""
    found = float(number)
    if not math.isfinite(found):
        raise ValueError(f"need a finite number, got {number[:20]}")
    return found


def deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects stand more than so many levels deep inside one another."""
    inner = [value]
    for _ in range(levels):
        parts = (part for one in inner for part in (one.values() if isinstance(one, dict) else one))
        inner = [part for part in parts if isinstance(part, list | dict)]
    return bool(inner)


def hold(folder: Path) -> FileLock:
    """A lock on the folder for as long as this process lives; ValueError where another run has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another run is at work in {folder}: wait for it or stop it, or give another --output_dir"
        ) from None
    return lock


def require_listed(folder: Path, name: str) -> None:
    """ValueError where a file of a corpus was cut or edited since its manifest.json was written."""
    listed = read_json(folder / "manifest.json").get("files", {}).get(name)
    if listed and sha256(folder / name) != listed["sha256"]:
        raise ValueError(
            f"{folder / name} is not the file that the corpus was finished with (see manifest.json): "
            f"run `rm {folder / 'manifest.json'}; make corpus MODEL={folder.name}`, or name your own file by itself"
        )


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
