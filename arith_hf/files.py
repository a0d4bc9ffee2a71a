"""Files that are whole or absent: text, JSON and JSON lines, written aside and renamed.

May not know what the files mean. A reader that finds a broken file names it and the line.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any


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


def to_json(content: Any) -> str:
    """The text of a JSON file, as `write_json` writes it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_jsonl(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    write_with(path, lambda stream: stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: str | Path) -> Any:
    """Content of a JSON file; ValueError names the file, line and column of what is broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from error


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file, blank lines skipped; ValueError names the file and line of the first broken row."""
    with Path(path).open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield parse_row(line, f"{path}:{number}")


def parse_row(line: bytes, where: str) -> dict[str, Any]:
    """One JSON object; ValueError begins with `where`."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: broken line, not a JSON object ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: need a JSON object, got {type(row).__name__}")
    return row


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
