"""What a token is: three kinds of tokenizer, made for the written form of a task.

May not know how a problem is written, beyond the keywords and alphabet that its form names, nor where one is kept.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain

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
from transformers import PreTrainedTokenizerFast

from arith_hf import notation

SPECIALS = ("pad_token", "unk_token", "bos_token", "eos_token")
TASK = "task"  # in tokenizer_config.json, so that it travels with a model: the form that its texts are written in
PRIVATE = 0xE000  # from here on Unicode names no character
MOST_PLACES = 9


def train(
    kind: str,
    texts: Iterable[str] = (),
    vocab_size: int = 1000,
    model_max_length: int | None = None,
    places: int = 1,
    task: str = "expression",
) -> PreTrainedTokenizerFast:
    """A tokenizer of the kind `digits`, `char` or `bpe`; only the last reads `texts` and minds `vocab_size`.

    `task` names the written form, whose keywords and alphabet it has.

    Only the first minds `places`. It puts BOS in front and nothing at the end. The think tags are whole tokens but not
    special ones.
    """
    form = notation.of(task)
    specials = (notation.PAD, notation.UNK, notation.BOS, form.EOS)
    makers = {
        "digits": lambda: with_places(form, specials, places),
        "char": lambda: list_pieces(specials, *characters(form)),
        "bpe": lambda: learn_merges(specials, characters(form)[0], texts, vocab_size),
    }
    if places != 1 and kind != "digits":
        raise ValueError(f"places: need kind: digits, whose tokens are digits, got {kind}")
    if kind not in makers:
        raise ValueError(f"need kind to be one of {', '.join(makers)}, got {kind}")
    core = makers[kind]()
    bos = (notation.BOS, core.token_to_id(notation.BOS))
    core.post_processor = processors.TemplateProcessing(
        single=f"{notation.BOS} $A", pair=f"{notation.BOS} $A $B:0", special_tokens=[bos]
    )
    limit = {} if model_max_length is None else {"model_max_length": model_max_length}
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(SPECIALS, specials, strict=True)),
        **{TASK: task},
        **limit,
    )


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
