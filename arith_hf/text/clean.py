"""A document as it should have been written: its characters repaired, what no reader sees removed.

May not know why a document is wanted. Paragraphs stay, the lines of one too; clean text is left as it is.
"""

import re
import unicodedata
from typing import Literal, get_args

import ftfy

Urls = Literal["keep", "remove", "token"]
URL = re.compile(r"\b(?:(?:https?|ftp)://|www\.)[^\s<>\"]*[^\s<>\".,;:!?()\[\]{}'»”’]", re.IGNORECASE)
URL_TOKEN = "<url>"
CONFIG = ftfy.TextFixerConfig(uncurl_quotes=False, normalization="NFC", explain=False)  # repaired, not restyled
NEEDLESS = re.compile(r"[ %'-~!-$]*")  # printable ASCII without &: ftfy leaves it
LINE_END = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f"  # control characters
    "\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # soft hyphens, no width, directions; joiners stay
    "\ud800-\udfff\ue000-\uf8ff\ufff9-\ufffb\ufffe\uffff]"  # halves of pairs, private use, no characters
)
BLANK = re.compile(r"[^\S\n]+")
EDGE = re.compile(r" *\n *")
INSIDE = re.compile(r"(?<=\S)[^\S\n]+(?=\S)")  # a line, so that what it is indented by stays
PARAGRAPH = re.compile(r"\n{3,}")


def clean(text: str, urls: Urls = "keep", indented: bool = False) -> str:
    """The clean text, "" if nothing is left of it; cleaning it again changes nothing. `indented` lines stay so.

    >>> clean("The cafÃ© \\u200bwas\\topen.  \\r\\n\\r\\n\\r\\nSee http://a.example/b?c=d now", urls="token")
    'The café was open.\\n\\nSee <url> now'
    >>> clean("if x:  \\n    return  1\\n", indented=True)
    'if x:\\n    return 1'
    """
    if urls not in get_args(Urls):
        raise ValueError(f"need urls to be one of {', '.join(get_args(Urls))}, got {urls!r}")
    known: dict[tuple[str, bool], str] = {}
    while (cleaned := once(text, urls, known, indented)) != text:  # a part removed may have stood within another
        text = cleaned
    return text


def once(text: str, urls: Urls, known: dict[tuple[str, bool], str], indented: bool) -> str:
    """One round; `known` are the lines that ftfy was asked for, which is most of the time."""
    entities = "<" not in text  # else one may be meant as it is written: the rule of ftfy
    lines = LINE_END.sub("\n", text).split("\n")
    for line in lines:
        if not NEEDLESS.fullmatch(line) and (line, entities) not in known:
            known[line, entities] = ftfy.fix_text(line, CONFIG, unescape_html=entities)
    text = "\n".join(known.get((line, entities), line) for line in lines)
    text = LINE_END.sub("\n", text)
    text = UNSEEN.sub("", text)
    if urls != "keep":
        text = URL.sub(URL_TOKEN if urls == "token" else "", text)
    if indented:
        text = "\n".join(map(str.rstrip, INSIDE.sub(" ", text).split("\n")))
    else:
        text = EDGE.sub("\n", BLANK.sub(" ", text))
    return unicodedata.normalize("NFC", PARAGRAPH.sub("\n\n", text).strip())
