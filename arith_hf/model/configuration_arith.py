"""The shape of the model: the fields of its `config.json`, and shapes by name.

May not import anything of ours, nor its parent package: this file is copied into every checkpoint.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import LlamaConfig, PreTrainedConfig, Qwen3Config

# Parameters without the vocabulary: 0.03 M, 0.2 M, 0.8 M, 4.7 M, 6.3 M, 25 M. The width of the MLP is 8/3 of the
# model's, as three matrices of that width cost what two of 4 widths do; `seed` is the shape that its document asks for.
SIZES: dict[str, dict[str, int | str | bool]] = {
    "tiny": {"hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 2, "num_attention_heads": 2},
    "mini": {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 4, "num_attention_heads": 2},
    "small": {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 4, "num_attention_heads": 4},
    "medium": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 8},
    "seed": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 8},
    "large": {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8, "num_attention_heads": 8},
    # The shapes of the document on addition, which says 1, 5 and 10 M parameters; with the 20 tokens of sums they have:
    "addition-small": {  # 2 628 864
        "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4,
    },
    "addition-medium": {  # 15 745 536
        "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 8,
    },
    "addition-large": {  # 33 573 376
        "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 8,
    },
    # Of natural text, heads of 64; with 32 768 tokens, which the head shares with the input, they have:
    "text-tiny": {  # 13 135 104
        "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 4,
    },
    "text-small": {  # 54 735 360
        "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 12, "num_attention_heads": 8,
    },
    "text-base": {  # 195 072 768
        "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 12,
    },
    # With 8 000 tokens 2 392 704, half in an input and half in an output that share nothing, as the document counts:
    # it says 2 327 552, of an MLP of two matrices where this one has three.
    "bilingual": {
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "position_embedding": "learned", "max_position_embeddings": 128, "tie_word_embeddings": False,
    },
}  # fmt: skip


@strict
class ArithConfig(PreTrainedConfig):
    """Names, meanings and defaults of `LlamaConfig`; the fields below `# Ours` are not Llama's.

    rope_theta: base of the rotary frequencies.
    head_dim: width of a head; 0: hidden_size / num_attention_heads.
    position_embedding: `rotary`, `learned` (absolute, at most `max_position_embeddings` of them) or `none`.
    qk_norm: RMSNorm on the queries and keys of each head, as Qwen3 has.
    hidden_dropout: on the embeddings and on what each attention and MLP adds to the residual stream.
    attention_sink: with position_window each softmax has one more score, of 0, whose value is 0: a mean alone tells
        neither whether there is anything to see at a place nor how many times.
    sliding_window: in every layer a token sees itself and the `sliding_window - 1` tokens before it; None: all.
    window_counts: `tokens`, or with line_stride `positions`: a token sees those that are less than
        `sliding_window` rotary positions before it: of the line before its own, however short, and of none before that.
    line_stride: a line begins at the next multiple of so many rotary positions, so that lines that differ by little
        stand the same distance apart, token by token, whatever their length; None: positions count tokens; 0: every
        line begins at position 0, so that tokens at the same place of their lines (digits of numbers) share one.
    position_window: with line_stride 0 a token sees those, before it, whose positions differ from its own by less.
    line_token_ids: the tokens that a line begins with, for line_stride.
    zero_init_output: `o_proj` and `down_proj` start at zero, so that each layer starts as the identity.
    tokenizer_fingerprint: of the tokenizer whose ids the weights were trained on.
    """

    model_type = "arith"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012
    base_model_tp_plan = {  # noqa: RUF012
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj": "colwise",
        "layers.*.self_attn.v_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }

    vocab_size: int = 64
    hidden_size: int = 128
    intermediate_size: int = 344
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True
    attention_dropout: float | int = 0.0

    # Ours
    rope_theta: float | int = 10_000.0
    position_embedding: Literal["rotary", "learned", "none"] = "rotary"
    head_dim: int = 0
    qk_norm: bool = False
    sliding_window: int | None = None
    window_counts: Literal["tokens", "positions"] = "tokens"
    line_stride: int | None = None
    position_window: int | None = None
    attention_sink: bool = False
    line_token_ids: list[int] | None = None
    hidden_dropout: float | int = 0.0
    zero_init_output: bool = False
    tokenizer_fingerprint: str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if not self.head_dim and self.num_attention_heads and not self.hidden_size % self.num_attention_heads:
            self.head_dim = self.hidden_size // self.num_attention_heads
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Called by `@strict`: what the fields must hold together."""
        shape = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        for name in (*shape, "max_position_embeddings"):
            if getattr(self, name) < 1:
                raise ValueError(f"need {name} >= 1, got {getattr(self, name)}")
        if not self.head_dim:
            raise ValueError(
                f"need hidden_size to be a multiple of num_attention_heads, or a head_dim, "
                f"got {self.hidden_size} and {self.num_attention_heads}"
            )
        if self.head_dim < 1:
            raise ValueError(f"need head_dim >= 1, got {self.head_dim}")
        if self.position_embedding == "rotary" and self.head_dim % 2:
            raise ValueError(f"need an even head_dim for rotary positions, got {self.head_dim}")
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(f"need 0 <= pad_token_id < vocab_size = {self.vocab_size}, got {self.pad_token_id}")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError(f"need sliding_window >= 1 or none, got {self.sliding_window}")
        if self.line_stride is not None:
            if self.line_stride < 0 or self.position_embedding != "rotary":
                raise ValueError(
                    f"need line_stride >= 0 and rotary positions, or none, got {self.line_stride} and "
                    f"{self.position_embedding}"
                )
            if not self.line_token_ids or not all(0 <= token < self.vocab_size for token in self.line_token_ids):
                raise ValueError(
                    f"need line_token_ids with line_stride, below vocab_size = {self.vocab_size}, "
                    f"got {self.line_token_ids}"
                )
        if self.window_counts == "positions" and not 0 < (self.line_stride or 0) < (self.sliding_window or 0):
            raise ValueError(
                "need a line_stride, and a sliding_window greater than it, for window_counts: positions, so "
                f"that a line sees the one before it; got {self.line_stride} and {self.sliding_window}"
            )
        if self.position_window is not None and (self.line_stride != 0 or self.position_window < 1):
            raise ValueError(
                "need line_stride 0 and a position_window >= 1, or none, "
                f"got {self.line_stride} and {self.position_window}"
            )
        if self.attention_sink and self.position_window is None:
            raise ValueError("need a position_window for attention_sink, got none")
        if self.line_stride == 0 and self.sliding_window is not None:
            raise ValueError(
                f"need position_window, and no sliding_window, with line_stride 0, got {self.sliding_window}"
            )
        for name in ("hidden_dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"need 0 <= {name} < 1, got {getattr(self, name)}")

    @classmethod
    def from_size(cls, size: str, **fields: Any) -> "ArithConfig":
        """A shape by name with any field overridden; ValueError where a name or a value is wrong."""
        if size not in SIZES:
            raise ValueError(f"no size `{size}`{nearest(size, SIZES)} The sizes are {', '.join(SIZES)}.")
        known = {field.name for field in dataclasses.fields(cls)} | {"attn_implementation"}
        for name in fields:
            if name not in known:
                raise ValueError(f"the model has no field `{name}`{nearest(name, known)}")
        try:
            return cls(**{**SIZES[size], **fields})
        except StrictDataclassError as error:
            raise ValueError(" ".join(str(error.__cause__ or error).split())) from error

    def to_stock(self) -> PreTrainedConfig:
        """The configuration of the stock architecture with the same weights and logits: Llama's, or Qwen3's.

        ValueError where there is none: learned or no positions, positions by the line, or a window without q/k norm.
        """
        if self.line_stride is not None:
            raise ValueError(
                "no stock architecture has a line_stride: load the checkpoint with trust_remote_code, "
                "or train a model with line_stride: null"
            )
        if self.sliding_window is not None and not self.qk_norm:
            raise ValueError(
                "no stock architecture has a sliding_window without qk_norm, so train a model with qk_norm: true"
            )
        if self.position_embedding != "rotary":
            raise ValueError(
                f"no stock architecture has position_embedding: {self.position_embedding}; need rotary, "
                f"so train a model with position_embedding: rotary"
            )
        stock = Qwen3Config if self.qk_norm else LlamaConfig
        shared = {field.name for field in dataclasses.fields(stock)} & {
            field.name for field in dataclasses.fields(self)
        }
        left_out = {"architectures", "transformers_version", "sliding_window"}
        fields = {name: getattr(self, name) for name in shared - left_out}
        if self.sliding_window is not None:
            windows = ["sliding_attention"] * self.num_hidden_layers
            fields |= {"use_sliding_window": True, "sliding_window": self.sliding_window, "layer_types": windows}
            fields |= {"max_window_layers": 0}
        return stock(
            **fields,
            architectures=["Qwen3ForCausalLM" if self.qk_norm else "LlamaForCausalLM"],
            num_key_value_heads=self.num_attention_heads,
            rope_parameters={"rope_type": "default", "rope_theta": float(self.rope_theta)},
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """`: did you mean ...?` with the closest of `known`, or a full stop where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean `{close[0]}`?" if close else "."
