"""What a token is: four kinds of tokenizer, made for the written form of a task.

May not know how a problem is written, beyond the keywords and alphabet that its form names, nor where one is kept.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from arith_hf import chat, notation

SPECIALS = ("pad_token", "unk_token", "bos_token", "eos_token")
TASK = "task"  # in tokenizer_config.json, so that it travels with a model: the form that its texts are written in
PRIVATE = 0xE000  # from here on Unicode names no character
MOST_PLACES = 9
ASCII = "".join(map(chr, range(ord(" "), 127))) + "\n"  # written without bytes, however rare
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
# A piece is of one of these: a word with the space before it, a single digit, spaces before a space, other white space
# alone. So what stands before a line or a number never changes its tokens. Signs are not parted from words: the trainer
# finds pieces that stand in two different words, and would have none for ` because` if there were no ` because,`.
WORDS = r" ?[^\s\p{N}]+|\p{N}| +(?= )|\s"


def train(
    kind: str,
    texts: Iterable[str] = (),
    vocab_size: int = 1000,
    model_max_length: int | None = None,
    places: int = 1,
    task: str = "expression",
    character_coverage: float = 0.9995,
    chat_template: str | None = None,
) -> PreTrainedTokenizerFast:
    """A tokenizer of the kind `digits`, `char`, `bpe` or `unigram`; the last two learn `vocab_size` from `texts`.

    `task` names the written form, whose keywords and alphabet it has. `texts` are read twice for `unigram`, the only
    one that minds `character_coverage`; only the first minds `places`. `chat_template` names one that the tokenizer
    shall carry, whose own marks are special tokens.

    It puts BOS in front and nothing at the end. The think tags are whole tokens but not special ones.
    """
    form, marks = notation.of(task), chat.MARKS.get(chat_template or "", ())
    specials = (notation.PAD, notation.UNK, notation.BOS, form.EOS)
    tags = characters(form)[0] or [notation.THINK, notation.END_THINK]
    makers = {
        "digits": lambda: with_places(form, specials, places),
        "char": lambda: list_pieces(specials, *characters(form)),
        "bpe": lambda: learn_merges((*specials, *marks), tags, texts, vocab_size),
        "unigram": lambda: learn_pieces((*specials, *marks), tags, texts, vocab_size, character_coverage),
    }
    if places != 1 and kind != "digits":
        raise ValueError(f"places: need kind: digits, whose tokens are digits, got {kind}")
    if kind not in makers:
        raise ValueError(f"need kind to be one of {', '.join(makers)}, got {kind}")
    if chat_template and task != "text":
        raise ValueError(f"chat_template: need a corpus of task: text, got task: {task}, which is not talked about")
    if not 0 < character_coverage <= 1:
        raise ValueError(f"need 0 < character_coverage <= 1, got {character_coverage}")
    template = chat.template(chat_template) if chat_template else None
    core = makers[kind]()
    bos = (notation.BOS, core.token_to_id(notation.BOS))
    core.post_processor = processors.TemplateProcessing(
        single=f"{notation.BOS} $A", pair=f"{notation.BOS} $A $B:0", special_tokens=[bos]
    )
    more: dict[str, Any] = {} if model_max_length is None else {"model_max_length": model_max_length}
    if marks:
        more |= {"extra_special_tokens": list(marks), chat.TURN_END: chat.ENDS[str(chat_template)]}
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(SPECIALS, specials, strict=True)),
        **{TASK: task},
        **more,
    )
    if template:
        made.chat_template = template
    return made


def task_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The name of the written form that a tokenizer was made for; `expression` where it says nothing."""
    return getattr(tokenizer, "init_kwargs", {}).get(TASK) or "expression"


def characters(form: notation.Form) -> tuple[list[str], str]:
    """What kind `char` keeps whole, tags such as `<think>`, and the characters of all else."""
    tags = [word for word in form.KEYWORDS if re.fullmatch("</?[a-z]+>", word)]
    return tags, form.ALPHABET + "".join(word for word in form.KEYWORDS if word not in tags)


def with_places(form: notation.Form, specials: Sequence[str], places: int) -> Tokenizer:
    """Keywords and single digits, with other tokens for a digit as unit, as ten, ..., `places` of them.

    The last stands for all places beyond it. So the columns of a sum are found by what stands there, not by counting.
    The text that comes back is the same.
    """
    if not 1 <= places <= MOST_PLACES:
        raise ValueError(f"need places from 1 to {MOST_PLACES}, got {places}")
    if places == 1:
        return list_pieces(specials, form.KEYWORDS, form.ALPHABET)
    marks = "".join(
        chr(PRIVATE + index) for index in range(10 * (places - 1))
    )  # 0 to 9 as tens, 0 to 9 as hundreds, ...
    digit = f"[0-9{marks}]"

    def behind(place: int) -> str:
        return f"(?={digit}{{{place}}}{'' if place == places - 1 else f'(?!{digit})'})"

    normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(f"[{marks}]"), "\N{REPLACEMENT CHARACTER}"),  # unknown, where a text has one
            *(
                normalizers.Replace(Regex(f"{index % 10}{behind(1 + index // 10)}"), mark)
                for index, mark in enumerate(marks)
            ),
        ]
    )
    wholes = [normalizer.normalize_str(keyword) for keyword in form.KEYWORDS]
    core = list_pieces(specials, wholes, form.ALPHABET + marks)
    core.normalizer = normalizer
    back = [decoders.Replace(mark, str(index % 10)) for index, mark in enumerate(marks)]
    core.decoder = decoders.Sequence([decoders.Fuse(), *back])
    return core


def list_pieces(specials: Sequence[str], wholes: Sequence[str], characters: str) -> Tokenizer:
    """A fixed vocabulary: the specials, then `wholes`, then single characters; the longest whole that fits is taken."""
    longest_first = sorted(wholes, key=len, reverse=True)
    pieces = dict.fromkeys([*specials, *wholes, *sorted(set(characters))])
    core = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(pieces)}, unk_token=notation.UNK))
    pattern = "|".join([*map(re.escape, longest_first), r"[\s\S]"])
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens(list(specials))
    return core


def learn_merges(specials: Sequence[str], tags: Sequence[str], texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE of at most `vocab_size` tokens, specials and think tags counted; no merge crosses a tag."""
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    least = len(specials) + len(tags) + len(bytes_)
    if vocab_size < least:
        raise ValueError(f"need vocab_size >= {least} (every byte, the specials, the tags), got {vocab_size}")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(tags),
        special_tokens=list(specials),
        initial_alphabet=bytes_,
        show_progress=False,
    )
    tag = re.compile("|".join(map(re.escape, tags)))
    pieces = (tag.split(text) for text in texts)
    first = next(pieces, None)
    if first is None:
        raise ValueError("need text to learn a bpe vocabulary from, got none")
    core.train_from_iterator(chain([first], pieces), trainer)
    core.add_tokens([AddedToken(name, special=False, normalized=False) for name in tags])
    return core


def learn_pieces(
    specials: Sequence[str], tags: Sequence[str], texts: Iterable[str], vocab_size: int, coverage: float
) -> Tokenizer:
    """Unigram pieces of NFKC text, at most `vocab_size` tokens with specials, tags and 256 bytes; `texts` twice.

    The commonest characters that make up `coverage` of the text, and all of ASCII, are pieces; others are written as
    their bytes in UTF-8. No piece crosses a space, a digit, the end of a line or a tag.
    """
    normalizer = normalizers.NFKC()
    texts = texts if iter(texts) is not texts else list(texts)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    if not counts:
        raise ValueError("need text to learn a unigram vocabulary from, got none")
    alphabet = set(ASCII) | common(counts, coverage)
    extra = len(tags) + len(BYTES)
    least = len(specials) + len(alphabet) + extra
    if vocab_size < least:
        raise ValueError(
            f"need vocab_size >= {least} (every byte, {len(alphabet)} characters, the specials, the tags), "
            f"got {vocab_size}: raise it or lower character_coverage"
        )
    core = Tokenizer(models.Unigram())
    core.normalizer = normalizer
    core.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - extra,
        special_tokens=list(specials),
        unk_token=notation.UNK,
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    core.train_from_iterator(common_parts(texts, normalizer, tags, set(counts) - alphabet), trainer)
    pieces = settled(json.loads(core.to_str())["model"]["vocab"], set(specials))
    # So unlikely that a text with `<eos>` in it, which is not the token, is written in other pieces.
    apart = [(one, pieces[-1][1] - 1000) for one in (*specials, *BYTES)]
    vocabulary = [*apart, *pieces]
    core.model = models.Unigram(vocabulary, unk_id=list(specials).index(notation.UNK), byte_fallback=True)
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens(list(specials))
    core.add_tokens([AddedToken(name, special=False, normalized=False) for name in tags])
    return core


def common(counts: Counter[str], coverage: float) -> set[str]:
    """The commonest characters, as many as make up this share of all; of those as common the first in Unicode."""
    found, seen, enough = set(), 0, coverage * counts.total()
    for one, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if seen >= enough:
            break
        found.add(one)
        seen += count
    return found


def common_parts(
    texts: Iterable[str], normalizer: normalizers.Normalizer, tags: Sequence[str], rare: set[str]
) -> Iterator[str]:
    """The texts cut at tags and rare characters, which are left out."""
    odd = [f"[{''.join(map(re.escape, sorted(rare)))}]+"] if rare else []
    cut = re.compile("|".join([*map(re.escape, tags), *odd]))
    for text in texts:
        yield from filter(None, cut.split(normalizer.normalize_str(text)))


def settled(found: Sequence[tuple[str, float]], specials: set[str]) -> list[tuple[str, float]]:
    """Pieces and scores of the trainer, likeliest first, without what differs from run to run.

    It adds in the order of a hash table, so the last digits of a score vary, and characters that it would rather leave
    out get the lowest score and 0.0001, 0.0002, ... by chance: these all get the lowest. The pieces do not vary.
    """
    scores = {piece: score for piece, score in found if piece not in specials}
    lowest = min(scores.values())
    by_chance = lowest + 1e-4 * (1 + sum(len(piece) == 1 for piece in scores))
    kept = {
        piece: round(lowest if len(piece) == 1 and score < by_chance else score, 3) for piece, score in scores.items()
    }
    return sorted(kept.items(), key=lambda item: (-item[1], item[0]))
