"""Texts whose lines repeat each other: where a token stands, and how far it sees, by its line and its place there.

May not import anything of ours but the configuration beside it: this file is copied into every checkpoint.
"""

import torch
from torch import Tensor, nn

from .configuration_arith import ArithConfig

NEED_WHOLE = (
    "need rotary_position_ids: with line_stride they follow from the ids of the whole text, which are not here; "
    "`generate` passes them, except with prefill_chunk_size or continuous batching"
)


def line_positions(config: ArithConfig, input_ids: Tensor, position_ids: Tensor) -> Tensor:
    """Rotary positions (B, T) of whole documents: as `position_ids`, but lines begin at multiples of `line_stride`.

    With `line_stride` 0 all of them begin at 0. A document begins where `position_ids` are 0, a line at each of
    `line_token_ids`.
    """
    stride, ids = config.line_stride or 1, torch.tensor(config.line_token_ids, device=input_ids.device)
    index = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)  # (B, T)
    opens = (position_ids == 0).expand_as(input_ids)
    begins = torch.isin(input_ids, ids) | opens
    line = torch.where(begins, index, 0).cummax(-1).values  # where the line of a token begins
    if config.line_stride == 0:
        return index - line
    before = nn.functional.pad(line, (1, 0))[:, :-1]  # where the line before it began, at its first token
    advance = torch.where(begins & ~opens, -(-(index - before) // stride) * stride, 0).cumsum(-1)
    document = torch.where(opens, index, 0).cummax(-1).values
    return advance - advance.gather(-1, document) + index - line


def require_mask(config: ArithConfig) -> None:
    """ValueError where the attention that is asked for takes no mask of ours."""
    if by_positions(config) and config._attn_implementation not in (None, "sdpa", "eager"):
        raise ValueError(
            "need attn_implementation sdpa or eager for a window that counts positions, "
            f"got {config._attn_implementation}"
        )


def by_positions(config: ArithConfig) -> bool:
    """Whether how far a token sees follows from positions, not from how many tokens are between."""
    return config.window_counts == "positions" or config.position_window is not None


def windowed(config: ArithConfig, mask: Tensor, positions: Tensor, count: int) -> Tensor:
    """The mask (B, 1, T, S) of a window that counts positions, from one that lets more be seen.

    `positions` (B, S) are of all tokens so far, `count` T of this call. A cache may have dropped the first of them, or
    have room for more.
    """
    require_mask(config)
    seen, keys = positions.shape[1], mask.shape[-1]
    held = nn.functional.pad(positions, (0, keys - seen)) if keys > seen else positions[:, seen - keys :]
    apart = (positions[:, -count:, None] - held[:, None, :])[:, None]  # (B, 1, T, S)
    near: Tensor = apart < (config.position_window or config.sliding_window or 0)
    if config.position_window is not None:
        near &= apart > -config.position_window
    mask = mask & near if mask.dtype == torch.bool else mask.masked_fill(~near, torch.finfo(mask.dtype).min)
    return nn.functional.pad(mask, (1, 0), value=mask.dtype == torch.bool) if config.attention_sink else mask


def with_sink(states: Tensor) -> Tensor:
    """Keys or values (B, H, S, C) with one of zeros in front, which every token may see."""
    return nn.functional.pad(states, (0, 0, 1, 0))
