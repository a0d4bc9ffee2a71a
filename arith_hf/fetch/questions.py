"""Questions that the pages of a manual answer themselves: conversations, preferences, yes or no.

May not know where the pages come from, nor how they are split: all rows of one page, in any language, have one
`topic`. What is drawn follows from the name of the page alone.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from arith_hf.fetch.pages import Page

Row = dict[str, Any]
Twins = Mapping[tuple[str, str], Page]  # by language and topic
SHORTEST, LONGEST = 8, 200  # characters of an answer
PASSAGE = 600  # characters that a question of yes or no is asked of

WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "what": ["What does `{}` do?", "What is `{}` for?", "What is `{}`?", "Explain `{}` in one line."],
        "which": ["Which page of the manual is about this: {}?", "I am looking for this: {}. What is it called?"],
        "where": ["In which section of the manual is `{}`?"],
        "its place": "And in which section of the manual is it?",
        "other": "And in Spanish?",
        "help": ['What does the page "{}" say?', 'Tell me about "{}".', 'What is "{}" about?'],
        "yes or no": "Is `{}` about this: {}?",
        "sections": [
            "user commands",
            "system calls",
            "library functions",
            "devices",
            "file formats",
            "games",
            "conventions",
            "administration",
        ],
        "place": "In section {}: {}.",
    },
    "es": {
        "what": ["¿Qué hace `{}`?", "¿Para qué sirve `{}`?", "¿Qué es `{}`?", "Explica `{}` en una línea."],
        "which": ["¿Qué página del manual trata de esto: {}?", "Busco esto: {}. ¿Cómo se llama?"],
        "where": ["¿En qué sección del manual está `{}`?"],
        "its place": "¿Y en qué sección del manual está?",
        "other": "¿Y en inglés?",
        "help": ['¿Qué dice la página "{}"?', 'Háblame de "{}".', '¿De qué trata "{}"?'],
        "yes or no": "¿Trata `{}` de esto: {}?",
        "sections": [
            "órdenes de usuario",
            "llamadas al sistema",
            "funciones de biblioteca",
            "dispositivos",
            "formatos de ficheros",
            "juegos",
            "convenciones",
            "administración",
        ],
        "place": "En la sección {}: {}.",
    },
}


def askable(pages: Iterable[Page]) -> list[Page]:
    """The first page of each title in a language of ours that says in a line what it is of."""
    found: dict[tuple[str, str], Page] = {}
    for page in pages:
        if page.language in WORDS and SHORTEST <= len(page.about) <= LONGEST:
            found.setdefault((page.language, page.title), page)
    return list(found.values())


def sentence(about: str) -> str:
    """
    >>> sentence("list directory contents")
    'List directory contents.'
    """
    return about[0].upper() + about[1:] + ("" if about[-1] in ".!?" else ".")


def place(page: Page) -> str:
    words = WORDS[page.language]
    return words["place"].format(page.section[0], words["sections"][int(page.section[0]) - 1])


def talk(page: Page, *turns: str) -> Row:
    """A conversation of the page in which the user begins, and each has the word in turn."""
    messages = [{"role": ("user", "assistant")[at % 2], "content": said} for at, said in enumerate(turns)]
    return {"messages": messages, "topic": page.topic, "language": page.language}


def conversations(pages: Sequence[Page]) -> Iterator[Row]:
    """Each question that a page answers, in several wordings; of a man page also some in two turns."""
    twins = {(page.language, page.topic): page for page in pages}
    for page in pages:
        words, answer = WORDS[page.language], sentence(page.about)
        if not page.man:
            for asked in words["help"]:
                yield talk(page, asked.format(page.title), answer)
            yield from in_two_languages(page, twins, words["help"][0].format(page.title))
            continue
        for asked in words["what"]:
            yield talk(page, asked.format(page.title), answer)
        for asked in words["which"]:
            yield talk(page, asked.format(page.about.rstrip(".")), f"`{page.title}`.")
        for asked in words["where"]:
            yield talk(page, asked.format(page.title), place(page))
        first = chance("two turns", page).choice(words["what"]).format(page.title)
        yield talk(page, first, answer, words["its place"], place(page))
        yield from in_two_languages(page, twins, first)


def in_two_languages(page: Page, twins: Twins, asked: str) -> Iterator[Row]:
    """The conversation in which the same is asked for in the other language, where there is such a page."""
    if twin := twin_of(page, twins):
        yield talk(page, asked, sentence(page.about), WORDS[page.language]["other"], sentence(twin.about))


def twin_of(page: Page, twins: Twins) -> Page | None:
    """The page of the same topic in the other language, None where it says the same: it is not translated."""
    twin = twins.get(("es" if page.language == "en" else "en", page.topic))
    return twin if twin and twin.about != page.about else None


def preferences(pages: Sequence[Page]) -> Iterator[Row]:
    """The page's own answer, preferred to that of another page, and to its own in the other language."""
    twins = {(page.language, page.topic): page for page in pages}
    for page, other in with_another(pages, "preferences"):
        words = WORDS[page.language]
        asked = words["what"] if page.man else words["help"]
        prompt = chance("preferred", page).choice(asked).format(page.title)
        row = {"prompt": prompt, "chosen": sentence(page.about), "topic": page.topic, "language": page.language}
        yield row | {"rejected": sentence(other.about), "kind": "another page"}
        if twin := twin_of(page, twins):
            yield row | {"rejected": sentence(twin.about), "kind": "another language"}


def yes_or_no(pages: Sequence[Page]) -> Iterator[Row]:
    """Of each man page one question that is true and one that is not: neither answer is the more frequent."""
    for page, other in with_another([page for page in pages if page.man], "yes or no"):
        asked = WORDS[page.language]["yes or no"]
        for of, answer in ((page, True), (other, False)):
            question = asked.format(page.title, of.about.rstrip("."))
            yield {"question": question, "passage": beginning(page.text), "answer": answer, "topic": page.topic}


def with_another(pages: Sequence[Page], what: str) -> Iterator[tuple[Page, Page]]:
    """Each page with one of the same kind and language that says something else."""
    alike: dict[tuple[str, bool], list[Page]] = {}
    for page in pages:
        alike.setdefault((page.language, page.man), []).append(page)
    for page in pages:
        others = alike[page.language, page.man]
        start = chance(what, page).randrange(len(others))
        other = next((one for one in others[start:] + others[:start] if one.about != page.about), None)
        if other:
            yield page, other


def chance(what: str, page: Page) -> random.Random:
    return random.Random(f"{what}/{page.language}/{page.name}/{page.title}")


def beginning(text: str) -> str:
    """The first characters of a text, up to the end of a sentence or a line."""
    if len(text) <= PASSAGE:
        return text
    ends = [found.end() for found in re.finditer(r"[.!?](?=\s)|\n", text[:PASSAGE])]
    return text[: ends[-1] if ends and ends[-1] > PASSAGE // 2 else PASSAGE].strip()
