"""Natural text, small and made up, with a tokenizer and a model of it."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers.decoders import ByteLevel
from transformers import PreTrainedTokenizerFast

from arith_hf.model import ArithConfig, ArithForCausalLM

SENTENCES = {
    "en": ("The cat sat on the mat.", "A dog ran over the hill.", "The sun rose above the old town."),
    "es": ("El gato duerme en la cama.", "Un perro corre por la calle.", "El sol sale sobre el pueblo viejo: ¡mañana!"),
}
CONTEXT = 24
CHAT = "{{ bos_token }}{% for one in messages %}{{ one['role'] }}: {{ one['content'] }}\n{% endfor %}assistant:"


def texts(language: str, count: int) -> list[str]:
    """Documents of one to six sentences, no two alike."""
    some = SENTENCES[language]
    return [" ".join(some[(at + step) % 3] for step in range(1 + at % 6)) + f" ({at})" for at in range(count)]


def make_tokenizer(vocab_size: int, known: list[str]) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), ByteLevel()
    specials = ["<pad>", "<unk>", "<bos>", "<eos>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(known, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B:0", special_tokens=[("<bos>", specials.index("<bos>"))]
    )
    names = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), specials, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=core, task="text", **names)


def make_model(known: PreTrainedTokenizerFast, **fields: object) -> ArithForCausalLM:
    special = {f"{name}_token_id": getattr(known, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    torch.manual_seed(1)
    more = {"max_position_embeddings": CONTEXT, "vocab_size": len(known), **special, **fields}
    return ArithForCausalLM(ArithConfig.from_size("tiny", **more)).eval()


def train(model: ArithForCausalLM, known: PreTrainedTokenizerFast, documents: list[str]) -> None:
    """Forty steps on windows of the model's positions."""
    rows = [[*known(text)["input_ids"], known.eos_token_id] for text in documents]
    blocks = [row[at : at + CONTEXT] for row in rows for at in range(0, len(row), CONTEXT // 2) if len(row) > at + 2]
    wide = torch.tensor([block + [0] * (CONTEXT - len(block)) for block in blocks])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    draw = torch.Generator().manual_seed(0)
    for _ in range(40):
        ids = wide[torch.randint(len(wide), (32,), generator=draw)]
        model(input_ids=ids, labels=ids.masked_fill(ids == 0, -100), use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
