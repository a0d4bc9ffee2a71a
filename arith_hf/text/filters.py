"""Which documents are not worth reading: too short, no prose, the same line again and again, another language.

May not know where a document comes from. A filter that is not set removes nothing; the cheap ones are asked first.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from arith_hf.text.words import words

SYMBOLS = frozenset("#…{}[]<>|\\^~*=_`")  # of mark-up and code; prose has few
HEAD = 1000  # characters that its language is told by: a millisecond, and more change nothing


@dataclass(frozen=True)
class Filters:
    """Keys of a recipe; shares are of 1."""

    min_characters: int = 0
    max_characters: int | None = None
    min_words: int = 0
    min_letter_share: float = 0.0  # letters among what is not white space
    max_symbols_per_word: float | None = None
    max_repeated_line_share: float | None = None  # of the lines that are not empty, those that stood before
    min_mean_word_length: float = 0.0
    max_mean_word_length: float | None = None
    languages: tuple[str, ...] = ()  # ISO 639-1; any of them
    min_language_confidence: float = 0.0

    def __post_init__(self) -> None:
        for name in ("min_letter_share", "max_repeated_line_share", "min_language_confidence"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ValueError(f"need {name} from 0 to 1, got {getattr(self, name)}")
        for low, high in (("min_characters", "max_characters"), ("min_mean_word_length", "max_mean_word_length")):
            least, most = getattr(self, low), getattr(self, high)
            if least < 0 or (most is not None and most < least):
                raise ValueError(f"need 0 <= {low} <= {high}, got {least} and {most}")
        if self.min_language_confidence and not self.languages:
            raise ValueError("min_language_confidence needs languages, such as [en, es]")
        if isinstance(self.languages, str):
            raise ValueError(f"need a list of languages, got {self.languages!r}: write [{self.languages}]")
        object.__setattr__(self, "languages", tuple(self.languages))  # a recipe has lists
        if unknown := set(self.languages) - set(identifier().labels if self.languages else ()):
            raise ValueError(f"unknown languages {', '.join(sorted(unknown))}: need codes such as en, es, de")

    def reason(self, text: str) -> str | None:
        """The key of the first filter that removes the text; None: it stays.

        >>> Filters(min_characters=10, max_symbols_per_word=0.5).reason("{} | {} | [one] ^^")
        'max_symbols_per_word'
        """
        return next(self.reasons(text), None)

    def reasons(self, text: str) -> Iterator[str]:
        yield from chain(self.by_length(text), self.by_words(text), self.by_lines(text), self.by_language(text))

    def by_length(self, text: str) -> Iterator[str]:
        if len(text) < self.min_characters:
            yield "min_characters"
        if self.max_characters is not None and len(text) > self.max_characters:
            yield "max_characters"
        if self.min_letter_share:
            solid = "".join(text.split())
            if sum(map(str.isalpha, solid)) < self.min_letter_share * len(solid):
                yield "min_letter_share"

    def by_words(self, text: str) -> Iterator[str]:
        found = words(text)
        if len(found) < self.min_words:
            yield "min_words"
        symbols = 0 if self.max_symbols_per_word is None else sum(map(SYMBOLS.__contains__, text))
        if symbols > (self.max_symbols_per_word or 0) * len(found):
            yield "max_symbols_per_word"
        length = sum(map(len, found)) / max(len(found), 1)
        if length < self.min_mean_word_length:
            yield "min_mean_word_length"
        if self.max_mean_word_length is not None and length > self.max_mean_word_length:
            yield "max_mean_word_length"

    def by_lines(self, text: str) -> Iterator[str]:
        if self.max_repeated_line_share is not None:
            lines = Counter(line.strip() for line in text.splitlines() if line.strip())
            if lines.total() - len(lines) > self.max_repeated_line_share * lines.total():
                yield "max_repeated_line_share"

    def by_language(self, text: str) -> Iterator[str]:
        if self.languages:
            found, confidence = language(text)
            if found not in self.languages:
                yield "languages"
            if confidence < self.min_language_confidence:
                yield "min_language_confidence"


def language(text: str) -> tuple[str, float]:
    """Its code and the confidence, told by the head of the text.

    >>> language("The quick brown fox jumps over the dog.")[0], language("¿Dónde está la biblioteca del pueblo?")[0]
    ('en', 'es')
    """
    code, confidence = identifier().classify(text[:HEAD])
    return code, float(confidence)


@cache
def identifier() -> Any:
    """py3langid: offline, numpy only; see LOG.md for what it was measured against."""
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
