"""The stage `fetch`, with stand-ins for apt-get, dpkg-deb and mandoc on the path: no network, no Debian."""

import gzip
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from datasets import disable_progress_bars, enable_progress_bars

from arith_hf import fetch, files
from arith_hf.__main__ import main
from arith_hf.fetch import pages, questions
from arith_hf.fetch.pages import Page

APT = """#!/bin/sh
for word; do package=$word; done
echo "$@" >> {said}
case "$*" in *download*)
  cp {mirror}/"$package"_*.deb . 2>/dev/null || {{ echo "E: no package $package" >&2; exit 100; }};;
esac
"""
DPKG = """#!/bin/sh
case "$1" in
  -x) tar -xf "$2" -C "$3";;
  *) for word; do package=$word; done; name=$(basename "$package"); printf '%s\\n1.0\\n' "${name%%_*}";;
esac
"""
HELP = "<html><head><title>x</title></head><body><nav>menu</nav><h1>{}</h1><p>{}</p><p>{}</p></body></html>"


@pytest.fixture(autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


def man(name: str, head: str, about: str) -> str:
    body = f"{name} " + "does what it does, slowly and well. " * 3
    return f"<h1>{head}</h1><p>{name} - {about}</p><h1>DESCRIPTION</h1><p>{body}</p><h1>AUTHOR</h1><p>Somebody.</p>"


def pack(mirror: Path, package: str, contents: dict[str, str]) -> None:
    """A package as the stand-in of dpkg-deb opens it."""
    root = mirror / f"of-{package}"
    for name, text in (contents | {f"usr/share/doc/{package}/copyright": "License: MIT\n free"}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        path.chmod(0o755)
    with tarfile.open(mirror / f"{package}_1.0_all.deb", "w") as archive:
        archive.add(root, arcname=".")
    shutil.rmtree(root)


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    """A folder of packages, and programs that know no other."""
    mirror, programs = tmp_path / "mirror", tmp_path / "programs"
    mirror.mkdir()
    programs.mkdir()
    (programs / "apt-get").write_text(APT.format(mirror=mirror, said=tmp_path / "said"), encoding="utf-8")
    (programs / "dpkg-deb").write_text(DPKG, encoding="utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    share = "usr/share"
    pack(mirror, "mandoc", {"usr/bin/mandoc": "#!/bin/sh\ncat\n"})
    english = {"ls": "list directory contents", "cat": "concatenate files and print them"}
    pack(
        mirror,
        "manual",
        {f"{share}/man/man1/{name}.1.gz": man(name, "NAME", about) for name, about in english.items()}
        | {f"{share}/man/man1/dir.1.gz": ".so man1/ls.1", f"{share}/man/es/man1/ls.1.gz": man("ls", "NOMBRE", "otro")},
    )
    spanish = {"ls": "lista el contenido de un directorio", "cat": "concatena y muestra ficheros"}
    pack(
        mirror,
        "manual-es",
        {f"{share}/man/es/man1/{name}.1.gz": man(name, "NOMBRE", about) for name, about in spanish.items()}
        | {f"{share}/help/es/size.html": HELP.format("Tamaño", "Define el tamaño del texto.", "Más texto.")},
    )
    return mirror


def recipe(tmp_path: Path, *more: str) -> list[str]:
    folder = tmp_path / "recipes" / "two"
    folder.mkdir(parents=True, exist_ok=True)
    text = "packages: [manual, manual-es]\nlanguages: [en, es]\nquestions: true\n"
    (folder / "fetch.yaml").write_text(text, encoding="utf-8")
    return ["fetch", "--config", str(folder / "fetch.yaml"), *more]


def rows(path: Path) -> list[dict]:
    return list(files.read_jsonl(path))


def test_pages_go_to_the_folder_of_their_language_with_their_licences(tmp_path, mirror):
    assert main(recipe(tmp_path)) == 0
    raw = tmp_path / "data" / "raw" / "two"
    assert [row["page"] for row in rows(raw / "en" / "manual.jsonl")] == ["cat.1", "ls.1"], "no references, no Spanish"
    assert [row["page"] for row in rows(raw / "es" / "manual-es.jsonl")] == ["cat.1", "ls.1", "help/es/size"]
    (_, listed) = rows(raw / "en" / "manual.jsonl")
    assert listed["text"].startswith("NAME\n\nls - list directory contents\n\nDESCRIPTION\n\nls does what it does")
    assert "Somebody" not in listed["text"], "whose page it is stands in licenses/"
    assert rows(raw / "es" / "manual-es.jsonl")[2]["text"] == "Tamaño\n\nDefine el tamaño del texto.\n\nMás texto."
    manifest = files.read_json(raw / "manifest.json")
    assert manifest["packages"]["manual"]["licenses"] == ["MIT"]
    assert (raw / "licenses" / "manual.txt").read_text(encoding="utf-8").startswith("License: MIT")
    assert set(manifest["files"]) == {
        *("en/manual.jsonl", "es/manual-es.jsonl", "conversations.jsonl", "preferences.jsonl", "yesno.jsonl")
    }
    for name, counts in manifest["files"].items():
        assert counts["sha256"] == files.sha256(raw / name)
        assert counts["rows"] == len(rows(raw / name))


def test_a_rerun_does_nothing_and_one_without_a_network_makes_the_same(tmp_path, mirror):
    assert main(recipe(tmp_path)) == 0
    raw, said = tmp_path / "data" / "raw" / "two", tmp_path / "said"
    first = {path.name: path.read_bytes() for path in raw.rglob("*.jsonl")}
    asked = said.read_text(encoding="utf-8")
    before = (raw / "en" / "manual.jsonl").stat().st_ino
    os.utime(raw / "manifest.json", (1, 1))
    assert main(recipe(tmp_path)) == 0
    assert (raw / "en" / "manual.jsonl").stat().st_ino == before, "not written again"
    assert (raw / "manifest.json").stat().st_mtime > 1, "newer than the recipe, for make"
    (raw / "en" / "manual.jsonl").write_text("cut", encoding="utf-8")
    shutil.rmtree(mirror)
    assert main(recipe(tmp_path)) == 0
    assert {path.name: path.read_bytes() for path in raw.rglob("*.jsonl")} == first
    assert said.read_text(encoding="utf-8") == asked, "apt-get was not asked again"


def test_an_unknown_package_and_texts_of_ones_own_are_told(tmp_path, mirror, capsys):
    assert main(recipe(tmp_path, "--packages", "manual", "nothing-such")) == 2
    assert "could not fetch the package nothing-such: E: no package nothing-such" in capsys.readouterr().err
    assert main(recipe(tmp_path, "--packages", "-oEvil=1", "manual")) == 2
    assert main(recipe(tmp_path, "--languages", "en")) == 2
    assert "need one of `languages` for each of `packages`, got 1 for 2" in capsys.readouterr().err
    own = tmp_path / "own" / "en" / "mine.txt"
    own.parent.mkdir(parents=True)
    own.write_text("my only copy", encoding="utf-8")
    assert main(recipe(tmp_path, "--output_dir", str(tmp_path / "own"))) == 2
    assert own.read_text(encoding="utf-8") == "my only copy"
    assert "is a text of your own: remove fetch.yaml where nothing is to be fetched, or" in capsys.readouterr().err


def test_without_apt_one_is_told_where_to_put_texts_and_they_are_signed(tmp_path, mirror, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(recipe(tmp_path)) == 2
    raw = tmp_path / "data" / "raw" / "two"
    assert f"{raw / 'en' / '*.txt'} and {raw / 'es' / '*.txt'}" in capsys.readouterr().err
    for language in ("en", "es"):
        files.write_text(raw / language / "one.txt", "A text of my own.")
    assert main(recipe(tmp_path)) == 0
    assert set(files.read_json(raw / "manifest.json")["files"]) == {"en/one.txt", "es/one.txt"}


def test_texts_of_ones_own_stay_when_there_is_apt(tmp_path, mirror, monkeypatch, capsys):
    """They were signed where there was none, and changed since: neither do they go, nor is anything put beside them."""
    raw = tmp_path / "data" / "raw" / "two"
    for language in ("en", "es"):
        files.write_text(raw / language / "one.txt", "A text of my own.")
    with monkeypatch.context() as alone:
        alone.setenv("PATH", str(tmp_path))
        assert main(recipe(tmp_path)) == 0
    files.write_text(raw / "en" / "one.txt", "My only copy.")
    assert main(recipe(tmp_path)) == 2
    assert "one.txt is a text of your own" in capsys.readouterr().err
    found = {str(path.relative_to(raw)) for path in raw.rglob("*") if path.suffix in fetch.TEXTS}
    assert found == {"en/one.txt", "es/one.txt"}


def test_a_manifest_names_no_file_outside_its_folder(tmp_path, mirror):
    raw, other = tmp_path / "data" / "raw" / "two", tmp_path / "data" / "other.txt"
    assert main(recipe(tmp_path)) == 0
    files.write_text(other, "Of somebody else.")
    manifest = files.read_json(raw / "manifest.json")
    for name in ("../../other.txt", str(other)):
        files.write_json(raw / "manifest.json", {**manifest, "files": {**manifest["files"], name: {"sha256": ""}}})
        assert main(recipe(tmp_path)) == 0
        assert other.is_file()


def some_pages() -> list[Page]:
    english = [("ls", "list directory contents"), ("cat", "concatenate files"), ("rm", "remove files")]
    spanish = [("ls", "lista un directorio"), ("cat", "concatenate files")]
    both = [("en", *one) for one in english] + [("es", *one) for one in spanish]
    return [Page(f"{name}.1", language, name, about, f"NAME\n\n{name}", man=True) for language, name, about in both]


def test_answers_are_those_of_the_page_and_rejected_ones_are_not():
    about = {(page.language, page.title): questions.sentence(page.about) for page in some_pages()}
    of_topic = {page.title: {about[key] for key in about if key[1] == page.title} for page in some_pages()}
    for row in questions.conversations(some_pages()):
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        if f"`{row['topic']}`" in row["messages"][0]["content"] and "secti" not in row["messages"][-1]["content"]:
            own = about[row["language"], row["topic"]]
            assert own == row["messages"][1]["content"] or "sección" in row["messages"][1]["content"]
    pairs = list(questions.preferences(some_pages()))
    assert len(pairs) == 5 + 2, "one for each page, and of `ls` in either language the other: `cat` is not translated"
    for pair in pairs:
        assert pair["chosen"] == about[pair["language"], pair["topic"]] != pair["rejected"]
        assert (pair["kind"] == "another language") == (pair["rejected"] in of_topic[pair["topic"]])
    assert sum(pair["kind"] == "another language" for pair in pairs) == 2


def test_yes_and_no_are_as_frequent_and_right():
    asked = list(questions.yes_or_no(some_pages()))
    right = {page.title: {one.about for one in some_pages() if one.title == page.title} for page in some_pages()}
    assert sum(row["answer"] for row in asked) * 2 == len(asked) == 10
    for row in asked:
        assert row["answer"] == any(about in row["question"] for about in right[row["topic"]])


def test_what_is_hidden_or_leads_elsewhere_is_no_text():
    html = (
        '<head><style>p {}</style></head><div class="toc"><ul><li>one</li></ul></div><h1>T</h1>'
        '<p>press <span hidden="true" id="MACx">Cmd</span><span hidden="true" id="defaultx">Ctrl</span> now'
        "<br/>or   later<pre>a\n  b</pre><dl><dt>-x<dd>does x</dl><script>if (a < b) {}</script>&eacute;"
    )
    assert pages.read_html(html) == ("T", "T\n\npress Ctrl now\n\nor later\n\na\n  b\n\n-x\ndoes x\n\né")


@pytest.mark.parametrize("text", ["", "<", "<p", "</p></div>", "<a hidden><p>x", "&#xffffffff;", "<![CDATA[x"])
def test_no_page_is_too_broken_to_read(text):
    assert len(pages.read_html(text)[1]) <= len(text)


def test_the_beginning_ends_with_a_sentence():
    text = "One two three. " * 100
    assert questions.beginning(text).endswith("three.")
    assert questions.beginning("short") == "short"
    assert len(questions.beginning("x" * 5000)) == questions.PASSAGE


@pytest.mark.skipif(not shutil.which("mandoc"), reason="needs mandoc")
def test_a_man_page_is_read_by_mandoc(tmp_path):
    page = b".TH LS 1\n.SH NAME\nls \\- list directory contents\n.SH DESCRIPTION\nIt\n.B lists.\n"
    (tmp_path / "ls.1.gz").write_bytes(gzip.compress(page))
    found = pages.read_man(tmp_path / "ls.1.gz", "en", Path(shutil.which("mandoc") or ""))
    text = "NAME\n\nls - list directory contents\n\nDESCRIPTION\n\nIt lists."
    assert found == Page("ls.1", "en", "ls", "list directory contents", text, True)


def test_the_folder_is_no_other_runs(tmp_path, mirror):
    lock = files.hold(tmp_path / "data" / "raw" / "two")
    try:
        assert main(recipe(tmp_path)) == 2
    finally:
        lock.release()
    assert subprocess.run(["ls", tmp_path / "data" / "raw" / "two"], capture_output=True, text=True).stdout == ""
    assert fetch.main(recipe(tmp_path)[1:]) == 0
