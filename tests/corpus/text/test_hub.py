"""A corpus of texts that are streamed from the Hub: a stand-in of it on this machine, asked by the real libraries."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from hub_server import HubServer, serve
from pyarrow import parquet

from arith_hf import files

ROOT = Path(__file__).parents[3]
CARD = """---
configs:
- config_name: tales
  data_files: [{split: train, path: tales/*.jsonl}, {split: test, path: test.jsonl}]
- config_name: other
  data_files: [{split: train, path: test.jsonl}]
---
"""


def text(kind: str, number: int) -> str:
    return " ".join(f"{kind}{number}w{place}" for place in range(30))


def lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def publish(server: HubServer, folder: Path) -> None:
    parquet.write_table(pyarrow.table({"body": [text("song", n) for n in range(60)]}), folder / "songs.parquet")
    server.repos["ada/texts"] = [
        (
            "1" * 40,
            {
                "README.md": CARD.encode(),
                "tales/0.jsonl": lines([{"text": text("tale", n), "id": n} for n in range(50)]),
                "tales/1.jsonl": lines([{"text": text("tale", n), "id": n} for n in range(50, 80)]),
                "test.jsonl": lines([{"text": text("tale", 3)}]),
            },
        )
    ]
    server.repos["ada/songs"] = [("3" * 40, {"train.parquet": (folder / "songs.parquet").read_bytes()})]
    better = [{"prompt": f"Which {n}?", "chosen": f"Yes {n}.", "rejected": f"No {n}."} for n in range(60)]
    server.repos["ada/pairs"] = [("2" * 40, {"data/train.jsonl": lines(better)})]


def run(server: HubServer, folder: Path, *argv: str, module: bool = True) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, *(("-m", "arith_hf", "corpus") if module else ()), *argv]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


RECIPE = """
task: text
sources: [tales, songs]
source_paths: ["ada/texts:tales", ada/songs]
source_columns: [text, body]
evaluation_paths: ["ada/texts:tales@test"]
validation_share: 0.1
test_share: 0.1
preferences: [ada/pairs]
"""


def test_sources_and_pairs_are_streamed_by_name_configuration_and_split(tmp_path):
    recipe = tmp_path / "recipes" / "hub" / "corpus.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(RECIPE, encoding="utf-8")
    with serve() as server:
        publish(server, tmp_path)
        done = run(server, tmp_path, "--config", "recipes/hub/corpus.yaml")
        assert done.returncode == 0, done.stderr
        missing = run(
            server, tmp_path, "--config", "recipes/hub/corpus.yaml", "--source_paths", "ada/none", "ada/texts"
        )
    assert missing.returncode == 2
    assert "ada/none is no file or folder, and no dataset of the Hub" in missing.stderr
    folder = tmp_path / "data" / "hub"
    manifest = files.read_json(folder / "manifest.json")
    kept = {
        row["text"]: row["source"]
        for name in manifest["files"]
        for row in files.read_jsonl(folder / name)
        if "text" in row
    }
    whole = {text("tale", n): "tales" for n in range(80)} | {text("song", n): "songs" for n in range(60)}
    assert kept.items() <= whole.items()
    if text("tale", 3) in kept:
        assert len(kept) == 140
        pytest.fail("a text of the named evaluation is trained on, unless it is a test document")
    assert len(kept) == 139
    assert manifest["pairs"]["preferences"]["read"] == 60


def test_perplexity_is_taken_of_sets_by_name(tmp_path):
    """The split `test`, unless another is said."""
    code = (
        "from arith_hf.language.documents import others\n"
        "for one in others(['ada/texts:tales', 'ada/texts:tales@train'], False, None):\n"
        "    print(one.source, len(one.documents), one.documents[0].split()[0], one.sha256)"
    )
    with serve() as server:
        publish(server, tmp_path)
        done = run(server, tmp_path, "-c", code, module=False)
    assert done.stdout.splitlines() == ["ada/texts:tales 1 tale3w0 None", "ada/texts:tales@train 80 tale0w0 None"]


def test_rows_that_were_passed_are_left_out_and_a_new_commit_is_seen(tmp_path):
    code = (
        "from arith_hf.corpus.text import sources\n"
        "name = 'ada/texts:tales'\n"
        "found = list(sources.texts(name, 'text', 'train'))\n"
        "same = [list(sources.texts(name, 'text', 'train', n)) == found[n:] for n in (0, 1, 49, 50, 51, 79, 80)]\n"
        "print(len(found), *same, sources.state(name), sources.state(f'{name}@test'))"
    )
    with serve() as server:
        publish(server, tmp_path)
        first = run(server, tmp_path, "-c", code, module=False)
        server.repos["ada/texts"].append(("4" * 40, server.repos["ada/texts"][-1][1]))
        then = run(server, tmp_path, "-c", code, module=False)
    assert first.stdout.split() == ["80", *["True"] * 7, "1" * 40, "1" * 40], first.stderr
    assert then.stdout.split()[-2:] == ["4" * 40] * 2


@pytest.mark.slow
def test_an_interrupted_corpus_of_the_hub_goes_on_or_where_the_rows_may_be_others_starts_over(tmp_path):
    recipe = tmp_path / "recipes" / "hub" / "corpus.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(RECIPE, encoding="utf-8")
    folder, argv = tmp_path / "data" / "hub", ("--config", "recipes/hub/corpus.yaml")
    stopping = (
        "import sys\n"
        "from arith_hf import corpus\n"
        "from arith_hf.corpus.text import gather\n"
        "once, judged = gather.judged, []\n"
        "def judge(*given):\n"
        "    judged.append(1)\n"
        "    if len(judged) == 66: raise KeyboardInterrupt\n"
        "    return once(*given)\n"
        "gather.judged = judge\n"
        "corpus.main(['--config', 'recipes/hub/corpus.yaml'])"
    )
    corpora, told = [], []
    with serve() as server:
        publish(server, tmp_path)
        for commit in (None, "1" * 40, "5" * 40):  # of the end; begun with the first
            if commit:
                assert "KeyboardInterrupt" in run(server, tmp_path, "-c", stopping, module=False).stderr
                server.repos["ada/texts"][-1] = (commit, server.repos["ada/texts"][-1][1])
            done = run(server, tmp_path, *argv)
            assert done.returncode == 0, done.stderr
            told.append(done.stderr)
            names = ("manifest.json", *files.read_json(folder / "manifest.json")["files"])
            corpora.append([(folder / name).read_bytes() for name in names])
    assert corpora[0] == corpora[1] == corpora[2]
    assert ["going on from" in one for one in told] == [False, True, False]
    assert "in which 65 documents are judged" in told[1]
    assert ["(files changed): starting over" in one for one in told] == [False, False, True]
