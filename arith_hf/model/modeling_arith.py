"""The network: embeddings, layers of attention and gated MLP, a head; in the order norm, rotary, MLP, attention, layer.

May not import anything of ours but the two files beside it: they are copied into every checkpoint.
Parameter names and arithmetic are Llama's, or Qwen3's where `qk_norm` is on, so a stock config.json serves the weights.
"""

# B batch, T tokens of this call, S tokens so far (cache and call), D width, H heads, C width of a head,
# V vocabulary

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel, initialization
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_arith import ArithConfig
from .lines_arith import NEED_WHOLE, by_positions, line_positions, require_mask, windowed, with_sink

LARGE = 2**24  # pairs of places: a mask of more is left as it is, a byte a pair
CHUNK = 64  # queries; of a window of 128 and 256 tokens 32 is as fast, 128 slower


class ArithRMSNorm(nn.Module):
    """Root-mean-square norm in float32; written out, as `torch.nn.RMSNorm` trains slower on a CPU."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        exact = x.float()
        exact = exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * exact.to(x.dtype)


def rotary_angles(config: ArithConfig, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotation at each position, each (B, 1, T, C)."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float, device=position_ids.device) / config.head_dim
    frequencies = 1.0 / (config.rope_theta**exponents)  # (C/2)
    angles = position_ids[:, None, :, None].float() * frequencies
    angles = torch.cat((angles, angles), dim=-1)  # (B, 1, T, C)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` (B, H, T, C) with each pair of channels c and c + C/2 turned by the angle of its position."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class ArithOutput(nn.Linear):
    """A projection into the residual stream: the ones that `zero_init_output` starts at zero."""


class ArithMLP(nn.Module):
    def __init__(self, config: ArithConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = ArithOutput(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


def eager_attention(
    module: "ArithAttention",
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attention written out: the only one that can return its weights, here (B, H, T, S)."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights  # (B, T, H, C)


def in_chunks(config: ArithConfig, query: Tensor, key: Tensor, attention_mask: Tensor | None) -> bool:
    """Whether a window is to be attended to piece by piece: where no kernel does it, and the whole input is there."""
    whole = query.device.type == "cpu" and query.shape[2] == key.shape[2] > CHUNK
    return (
        config.sliding_window is not None
        and config._attn_implementation == "sdpa"
        and whole
        and attention_mask is not None
    )


def attend_in_chunks(
    attend: Callable,
    module: "ArithAttention",
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    sliding_window: int,
    **options: Any,
) -> tuple[Tensor, None]:
    """The same attention, CHUNK queries at a time with the keys that they may see: time linear in T, not its square."""
    outputs = []
    for start in range(0, query.shape[2], CHUNK):
        queries, keys = slice(start, start + CHUNK), slice(max(0, start - sliding_window + 1), start + CHUNK)
        mask = attention_mask[:, :, queries, keys]
        options |= {"sliding_window": sliding_window}
        outputs.append(attend(module, query[:, :, queries], key[:, :, keys], value[:, :, keys], mask, **options)[0])
    return torch.cat(outputs, dim=1), None  # (B, T, H, C)


class ArithAttention(nn.Module):
    is_causal = True  # read by the attention functions

    def __init__(self, config: ArithConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.head_dim
        heads = config.num_attention_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, heads, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, heads, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, heads, bias=False)
        self.o_proj = ArithOutput(heads, config.hidden_size, bias=False)
        if config.qk_norm:
            self.q_norm = ArithRMSNorm(self.head_dim, config.rms_norm_eps)
            self.k_norm = ArithRMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor] | None,
        attention_mask: Tensor | None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        shape = (*x.shape[:-1], -1, self.head_dim)
        query, key, value = self.q_proj(x).view(shape), self.k_proj(x).view(shape), self.v_proj(x).view(shape)
        if self.config.qk_norm:
            query, key = self.q_norm(query), self.k_norm(key)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)  # (B, H, T, C)
        if angles is not None:
            query, key = rotate(query, *angles), rotate(key, *angles)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)  # (B, H, S, C)
        if self.config.attention_sink:
            key, value = with_sink(key), with_sink(value)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        dropout = self.config.attention_dropout if self.training else 0.0
        options = {"dropout": dropout, "scaling": self.head_dim**-0.5, "sliding_window": self.config.sliding_window}
        if in_chunks(self.config, query, key, attention_mask):
            attend = partial(attend_in_chunks, attend)
        output, weights = attend(self, query, key, value, attention_mask, **options, **kwargs)
        return self.o_proj(output.reshape(*x.shape[:-1], -1)), weights


class ArithDecoderLayer(GradientCheckpointingLayer):
    def __init__(self, config: ArithConfig, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = ArithAttention(config, layer_idx)
        self.mlp = ArithMLP(config)
        self.input_layernorm = ArithRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = ArithRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), **kwargs)[0])
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class ArithPreTrainedModel(PreTrainedModel):
    config: ArithConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ArithDecoderLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": ArithDecoderLayer, "attentions": ArithAttention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if self.config.zero_init_output and isinstance(module, ArithOutput):
            initialization.zeros_(module.weight)  # leaves a weight that was loaded alone


class ArithModel(ArithPreTrainedModel):
    """Ids or embeddings to hidden states (B, T, D)."""

    def __init__(self, config: ArithConfig) -> None:
        super().__init__(config)
        require_mask(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        if config.position_embedding == "learned":
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(ArithDecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = ArithRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        rotary_position_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Packed documents: `position_ids` that restart at each one and no `attention_mask`; none sees another.

        `rotary_position_ids` (B, S) of all tokens so far are needed only where `line_stride` is set and the input is
        not whole documents.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("need exactly one of input_ids and inputs_embeds")
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds  # (B, T, D)
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = count_positions(attention_mask, x, seen)
        create_mask: Callable = create_causal_mask
        if self.config.sliding_window is not None:
            # Where the window counts positions it may be narrower than a causal mask: none is left out.
            skip = self.config.window_counts == "tokens"
            create_mask = partial(create_sliding_window_causal_mask, allow_is_causal_skip=skip)
        elif self.config.position_window is not None:
            create_mask = partial(create_causal_mask, allow_is_causal_skip=False)
        # Before a cache is made: with one in its hands it would not look for packed documents.
        mask = create_mask(
            config=self.config,
            inputs_embeds=x,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        angles = None
        if self.config.position_embedding == "rotary":
            if rotary_position_ids is None:
                rotary_position_ids = self.place_lines(input_ids, position_ids, seen)
            angles = rotary_angles(self.config, rotary_position_ids[:, -x.shape[1] :], x.dtype)
            if by_positions(self.config):
                if isinstance(seen, int) and rotary_position_ids.shape[1] != seen + x.shape[1]:
                    raise ValueError(NEED_WHOLE)
                mask = windowed(self.config, mask, rotary_position_ids, x.shape[1])
        elif self.config.position_embedding == "learned":
            x = x + self.look_up_positions(position_ids, seen)
        if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.device.type == "cpu" and mask.numel() < LARGE:
            # Once, not in every layer and again in its backward pass.
            mask = torch.zeros(mask.shape, dtype=x.dtype).masked_fill_(~mask, float("-inf"))
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(
                x,
                angles=angles,
                attention_mask=mask,
                past_key_values=past_key_values,
                position_ids=position_ids,  # FlashAttention reads the bounds of packed documents from them
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=past_key_values)

    def place_lines(self, input_ids: Tensor | None, position_ids: Tensor, seen: int) -> Tensor:
        """Rotary positions where none are given: the positions themselves, or those of lines."""
        if self.config.line_stride is None:
            return position_ids
        if input_ids is None or seen or "paged" in self.config._attn_implementation:
            raise ValueError(NEED_WHOLE)
        return line_positions(self.config, input_ids, position_ids)

    def look_up_positions(self, position_ids: Tensor, seen: int) -> Tensor:
        """Learned positions, (B, T, D); ValueError where there are fewer of them than the input needs."""
        most = self.config.max_position_embeddings
        # The maximum waits for the device, so it is only asked for where the width allows it to be too large.
        if seen + position_ids.shape[1] > most and position_ids.max() >= most:
            raise ValueError(
                f"need at most max_position_embeddings = {most} tokens, got {int(position_ids.max()) + 1}: shorten the "
                f"input or max_new_tokens, or train with more positions or with position_embedding: rotary"
            )
        return self.embed_positions(position_ids)


def count_positions(attention_mask: Tensor | None, x: Tensor, seen: int) -> Tensor:
    """Positions (B or 1, T) of the tokens `x` (B, T, D) after `seen` others, padding on the left not counted."""
    if attention_mask is None or attention_mask.dim() != 2:
        return torch.arange(x.shape[1], device=x.device)[None] + seen
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -x.shape[1] :]


class ArithForCausalLM(ArithPreTrainedModel, GenerationMixin):
    """The model with its head: logits (B, T, V) and, given labels, the mean loss of the next token."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012
    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012

    def __init__(self, config: ArithConfig) -> None:
        super().__init__(config)
        self.model = ArithModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:  # the Trainer warns of a key that it does not find, unless it is named here
            self._keys_to_ignore_on_save = ["lm_head.weight"]
        self.post_init()

    def prepare_inputs_for_generation(self, input_ids: Any, *rest: Any, **kwargs: Any) -> dict[str, Any]:
        """With `line_stride`, the rotary positions: only here are all ids at hand."""
        inputs = super().prepare_inputs_for_generation(input_ids, *rest, **kwargs)  # type: ignore[misc]
        if self.config.line_stride is not None:
            cache, new = kwargs.get("past_key_values"), inputs["input_ids"].shape[1]
            if cache is not None and cache.get_seq_length() + new > input_ids.shape[1]:
                raise ValueError(NEED_WHOLE)
            placed = line_positions(self.config, input_ids, count_positions(kwargs.get("attention_mask"), input_ids, 0))
            inputs["rotary_position_ids"] = placed
        return inputs

    def floating_point_ops(self, input_dict: dict[str, Any], exclude_embeddings: bool = True) -> int:
        """Of one training step, as PaLM counts: 6 a token and weight of a matrix, 12 a layer, channel and token seen.

        At most: tokens seen are those of the window, though documents and lines may end within it.
        `Trainer` asks at every step; the library's answer walks all parameters each time and leaves attention out.
        """
        rows, length = input_dict["input_ids"].shape
        config, seen = self.config, min(length, self.config.sliding_window or length)
        heads = config.num_attention_heads * config.head_dim
        layer = 4 * config.hidden_size * heads + 3 * config.hidden_size * config.intermediate_size
        matrices = config.num_hidden_layers * layer + config.vocab_size * config.hidden_size
        return rows * length * (6 * matrices + 12 * config.num_hidden_layers * heads * seen)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        loss_weights: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """`labels` are the `input_ids` (-100 where no loss is wanted): they are shifted here, and only here.

        `loss_weights` (B, T) count the loss of each label, 1 on average over the data: the sum is divided as without.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept, :])  # (B, T or logits_to_keep, V)
        loss = None
        if labels is not None and loss_weights is None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        elif labels is not None and loss_weights is not None:
            losses = nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="none"
            )
            items = kwargs.get("num_items_in_batch")
            items = (labels[:, 1:] != -100).sum() if items is None else items
            loss = (losses * loss_weights[:, 1:].flatten()).sum() / items
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
