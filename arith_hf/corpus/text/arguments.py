"""The keys of a corpus of natural text, checked before any work.

May not know how a source is read or a filter works; lists that belong together have one entry for each source.
"""

import re
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from arith_hf.corpus.arguments import key, need
from arith_hf.text.clean import Urls
from arith_hf.text.filters import Filters

RESERVED = ("preferences", "yesno")  # names of other files in test/


class Source(NamedTuple):
    """One of the sources, with its own entry of each list."""

    name: str
    path: str
    column: str
    split: str
    language: str
    budget: int  # characters; 0: no limit


class Talk(NamedTuple):
    """One of the sources of conversations."""

    path: str
    name: str
    language: str


@dataclass
class TextArguments:
    """Where the texts come from, what is removed of them, how they are split, and where to."""

    task: str = key("text", "what the corpus is of")
    seed: int = key(0, "of the hashes that near-duplicates are found by")
    output_dir: str | None = key(None, "folder to write")
    analyze_only: bool = key(False, "print the plan and the counts, write nothing")

    sources: list[str] = field(
        default_factory=list,
        metadata={"help": "a name for each source: the column `source`, and the name of its test file"},
    )
    source_paths: list[str] = field(
        default_factory=list,
        metadata={
            "help": "of each: a folder, file or pattern of text (a file is one document), JSONL (one a line) or "
            "parquet files; or name[:config] on the Hub"
        },
    )
    source_columns: list[str] = field(
        default_factory=list, metadata={"help": "of each: the column that holds the text (default: text)"}
    )
    source_splits: list[str] = field(
        default_factory=list, metadata={"help": "of each: the split of a dataset of the Hub (default: train)"}
    )
    source_languages: list[str] = field(
        default_factory=list, metadata={"help": "of each: its language, `any` for whatever it is (default: any)"}
    )
    source_budgets: list[int] = field(
        default_factory=list, metadata={"help": "of each: characters to keep at most, 0 for all (default: 0)"}
    )

    urls: Urls = field(
        default="keep", metadata={"help": "web addresses: keep, remove, or put <url> in their place (token)"}
    )
    min_characters: int = key(0, "shorter documents are left out; this and what follows counts clean text")
    max_characters: int | None = key(None, "longer ones are, too")
    min_words: int = key(0, "documents of fewer words are left out")
    min_letter_share: float = key(0.0, "least share of letters among what is not white space")
    max_symbols_per_word: float | None = key(None, "most marks of code and mark-up to a word")
    max_repeated_line_share: float | None = key(None, "most lines that stood before, as a share of all")
    min_mean_word_length: float = key(0.0, "least mean of characters to a word")
    max_mean_word_length: float | None = key(None, "greatest mean of characters to a word")
    min_language_confidence: float = key(0.0, "how sure the language must be, where source_languages says one")
    near_duplicate_threshold: float = key(0.7, "share of common word triples at which one of two goes; 1: none")
    contamination_words: int = key(13, "words in a row that no training text may share with an evaluation text; 0: any")
    evaluation_paths: list[str] = field(
        default_factory=list,
        metadata={"help": "more that must not be trained on: as source_paths; of the Hub name@split"},
    )

    validation_share: float = key(0.05, "share of the documents that validate, by their hash")
    test_share: float = key(0.05, "share of the documents that test, by their hash")
    num_validation: int = key(1_000, "most documents of each source that validate; more are left out")
    num_test: int = key(1_000, "most documents of each source that test; more are left out")
    shard_size: int | None = key(None, "characters of a file of training documents (default: one file)")

    conversations: list[str] = field(
        default_factory=list,
        metadata={"help": "paths of `messages`; prompt, completion; instruction, input, output; or trees as in OASST1"},
    )
    conversation_sources: list[str] = field(
        default_factory=list,
        metadata={"help": "of each: its name in the column `source` (default: that of the file or dataset)"},
    )
    conversation_languages: list[str] = field(
        default_factory=list,
        metadata={
            "help": "of each: what its rows must say as `language` (of trees `lang`), any for all (default: any)"
        },
    )
    preferences: list[str] = field(
        default_factory=list, metadata={"help": "paths of `prompt`, `chosen` and `rejected`"}
    )
    yesno: list[str] = field(
        default_factory=list, metadata={"help": "paths of `question`, `passage` and `answer` (true or false)"}
    )
    max_turn_characters: int = key(4_000, "longest turn of a conversation, prompt or answer of a preference")

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("need sources, such as `sources: [en]` and `source_paths: [data/raw/mine/en]`")
        if not are_names(self.sources) or set(RESERVED) & set(self.sources):
            told = f"not {' or '.join(RESERVED)}, got {', '.join(self.sources)}"
            raise ValueError(f"need sources with names of their own, of letters, digits and _, {told}")
        for name in ("sources", "languages"):
            if (found := getattr(self, f"conversation_{name}")) and len(found) != len(self.conversations):
                told = f"one for each of conversations, got {len(found)}"
                raise ValueError(f"need {len(self.conversations)} conversation_{name}, {told}")
        if not are_names(talks := [talk.name for talk in self.talks()]):
            told = f"of letters, digits and _, got {', '.join(talks)}"
            raise ValueError(f"need conversation_sources with names of their own, {told}")
        for name in ("paths", "columns", "splits", "languages", "budgets"):
            found = getattr(self, f"source_{name}")
            if len(found) != len(self.sources) and (found or name == "paths"):
                raise ValueError(f"need {len(self.sources)} source_{name}, one for each source, got {len(found)}")
        for name, least in (("num_validation", 1), ("num_test", 0), ("contamination_words", 0), ("shard_size", 1)):
            need(least, name, least if (value := getattr(self, name)) is None else value)
        need(0, "source_budgets", min(self.source_budgets, default=0))
        need(1, "max_turn_characters", self.max_turn_characters)
        shares = (self.validation_share, self.test_share)
        if min(shares) < 0 or not 0 < sum(shares) < 1 or not self.validation_share:
            raise ValueError(f"need 0 < validation_share and validation_share + test_share < 1, got {shares}")
        if not 0 < self.near_duplicate_threshold <= 1:
            raise ValueError(f"need 0 < near_duplicate_threshold <= 1, got {self.near_duplicate_threshold}")
        for source in self.each():
            self.filters(source.language)

    @property
    def form(self) -> str:
        return self.task

    def each(self) -> list[Source]:
        count = len(self.sources)
        rest = (("columns", "text"), ("splits", "train"), ("languages", "any"), ("budgets", 0))
        given = [getattr(self, f"source_{name}") or [default] * count for name, default in rest]
        return [Source(*one) for one in zip(self.sources, self.source_paths, *given, strict=True)]

    def talks(self) -> list[Talk]:
        names = self.conversation_sources or [name_of(path) for path in self.conversations]
        languages = self.conversation_languages or ["any"] * len(self.conversations)
        return [Talk(*one) for one in zip(self.conversations, names, languages, strict=True)]

    def filters(self, language: str) -> Filters:
        """What a document of a source in this language must be."""
        said = {one.name: getattr(self, one.name) for one in fields(Filters) if one.name != "languages"}
        if language == "any":
            return Filters(**said | {"min_language_confidence": 0.0})
        return Filters(**said, languages=(language,))


def are_names(said: list[str]) -> bool:
    """Whether each is of letters, digits and _, and stands once."""
    return len({one for one in said if one.replace("_", "").isalnum()}) == len(said)


def name_of(path: str) -> str:
    """What a file, folder, pattern or dataset of the Hub is called, as the name of a source.

    >>> name_of("mine/talks-2.jsonl.gz"), name_of("mine/talks/*.jsonl"), name_of("allenai/c4:en@train")
    ('talks_2', 'talks', 'c4')
    """
    plain = [part for part in path.split("/") if part and not set(part) & set("*?[")]
    return re.sub(r"\W", "_", re.split(r"[.:@]", plain[-1])[0]) if plain else ""
