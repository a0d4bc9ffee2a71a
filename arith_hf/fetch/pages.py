"""Pages of manuals as plain text: HTML as it stands, man pages by way of mandoc's HTML.

May not know where the pages come from, nor what is asked about them.
"""

import gzip
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

BLOCKS = {
    "address",
    "article",
    "blockquote",
    "body",
    "br",
    "caption",
    "dd",
    "div",
    "dl",
    "dt",
    "figure",
    "hr",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "section",
}
BLOCKS |= {"table", "tbody", "thead", "tr", "ul", "h1", "h2", "h3", "h4", "h5", "h6"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LEFT_OUT = {"script", "style", "nav", "header", "footer", "aside", "head", "button", "form", "noscript", "svg"}
NO_TEXT = {"head", "foot", "navheader", "navfooter", "toc", "noteicon", "relatedtopics", "howtoget"}
CLOSE = {"dt", "li"}  # the next line belongs to it
BORING = re.compile(  # who wrote a page and who may copy it: the same on hundreds of them, and kept in licenses/
    r"^(?:AUTHORS?|AUTOR|AUTORES|REPORTING BUGS|INFORMAR DE ERRORES|COPYRIGHT|DERECHOS DE AUTOR|TRADUCCIÓN|COLOPHON)"
    r"\n\n.*?(?=^[A-ZÁÉÍÓÚÑ][A-ZÁÉÍÓÚÑ ]{3,}\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
NAMED = re.compile(r"^(?:NAME|NOMBRE)\n+([^\n]+?) +[-–—] +([^\n]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """A page of a manual; `about` is what it says of itself in one line."""

    name: str  # of the man page, such as "ls.1"; else of the file
    language: str
    title: str
    about: str
    text: str
    man: bool = False

    @property
    def topic(self) -> str:
        """The same for a page in every language."""
        return self.title if self.man else re.sub(r"/[a-z]{2}(?:-[A-Z]{2})?(?=/)", "", self.name)

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[2]


class Reader(HTMLParser):
    """Gathers the paragraphs of a page, without what leads elsewhere or is hidden."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []  # of the paragraph at hand
        self.lines: list[str] = []  # paragraphs, and the gaps between them
        self.open: list[str] = []
        self.skipped: int | None = None  # how many were open where something to leave out began
        self.title = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.end_paragraph()
        elif tag in ("td", "th"):
            self.parts.append(" ")
        if tag in VOID:
            return
        said = dict(attributes)
        self.open.append(tag)
        hidden = "hidden" in said and not (said.get("id") or "").lower().startswith(
            "default"
        )  # of several, shown to most
        unwanted = tag in LEFT_OUT or hidden or NO_TEXT & {*(said.get("class") or "").split()}
        if self.skipped is None and unwanted:
            self.skipped = len(self.open)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.end_paragraph()

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.end_paragraph()
        if tag in self.open:
            while self.open.pop() != tag:
                pass
        if self.skipped is not None and len(self.open) < self.skipped:
            self.skipped = None

    def handle_data(self, data: str) -> None:
        if self.skipped is None:
            self.parts.append(data)

    def end_paragraph(self) -> None:
        text = "".join(self.parts)
        self.parts = []
        text = text.strip("\n").rstrip() if "pre" in self.open else " ".join(text.split())
        if not text.strip():
            return
        inside = next((tag for tag in reversed(self.open) if tag in BLOCKS), "")
        if inside == "h1" and not self.title:
            self.title = text
        self.lines += [text, "\n" if inside in CLOSE else "\n\n"]


def read_html(html: str) -> tuple[str, str]:
    """(title, text) of a page, paragraphs apart by a blank line.

    >>> read_html("<h1>Cats</h1><nav>home</nav><p>They <b>sleep</b>.</p><ul><li>all day</li><li>at night</li></ul>")
    ('Cats', 'Cats\\n\\nThey sleep.\\n\\nall day\\nat night')
    """
    reader = Reader()
    reader.feed(html)
    reader.close()
    reader.end_paragraph()
    return reader.title, "".join(reader.lines).strip()


def of_package(folder: Path, language: str, mandoc: Path) -> Iterator[Page]:
    """The man pages of a language and all HTML pages in a folder, in the order of their names."""
    manual = folder / "usr/share/man" / ("" if language == "en" else language)
    for path in sorted(manual.glob("man[1-8]/*.gz")):
        if page := read_man(path, language, mandoc):
            yield page
    for path in sorted(folder.glob("usr/share/**/*.html")):
        if path.is_symlink():
            continue
        title, text = read_html(path.read_text(encoding="utf-8", errors="replace"))
        if title and text:
            name = path.relative_to(folder / "usr/share").with_suffix("").as_posix()
            yield Page(name, language, title, first_sentences(text, title), text)


def read_man(path: Path, language: str, mandoc: Path) -> Page | None:
    """A man page that says of what it is; None for one that only refers to another."""
    source = b"" if path.is_symlink() else gzip.decompress(path.read_bytes())
    if not source or source.lstrip().startswith(b".so "):
        return None
    command = [str(mandoc), "-T", "html", "-O", "fragment"]
    done = subprocess.run(command, input=source, capture_output=True, check=False)  # its status tells of style too
    _, text = read_html(done.stdout.decode("utf-8", errors="replace"))
    said = NAMED.search(text)
    if not said:
        return None
    name, title = path.name.removesuffix(".gz"), said[1].split(",")[0].strip()
    return Page(name, language, title, said[2].strip(), BORING.sub("", text).strip(), man=True)


def first_sentences(text: str, title: str) -> str:
    """The first paragraph of a page after its title, "" where that is none."""
    found = next((one for one in text.split("\n\n") if one != title), "")
    return found if re.search(r"[.!?]$", found) and "\n" not in found else ""
