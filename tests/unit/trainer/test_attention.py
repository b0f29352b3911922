"""Which completions are padded together, and that it does not matter to any of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from trainer.attention import group_spans, lots_of_about_one_length, packed_sdpa


def test_lots_hold_completions_of_about_one_length():
    assert lots_of_about_one_length([40, 120, 105, 104, 8, 7, 6]) == [[1, 2], [3], [0], [4, 5], [6]]
    assert lots_of_about_one_length([64] * 8) == [list(range(8))]


@pytest.mark.parametrize("lengths", [[5, 1, 4], [3, 3], [1, 8, 7, 2]])
def test_a_completion_sees_the_prompt_and_itself(lengths: list[int]):
    num_prompt, heads, key_heads, dim = 6, 4, 2, 8
    segments = torch.cat([torch.full((n,), i) for i, n in enumerate([num_prompt, *lengths])])
    spans = group_spans(torch.zeros_like(segments), segments, torch.device("cpu"), torch.float32)
    draw = torch.Generator().manual_seed(0)
    shapes = [(1, count, len(segments), dim) for count in (heads, key_heads, key_heads)]
    query, key, value = (torch.randn(shape, generator=draw) for shape in shapes)
    output, _ = packed_sdpa(torch.nn.Identity(), query, key, value, spans)
    torch.testing.assert_close(output.transpose(1, 2), reference(segments, query, key, value))


def reference(segments: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention over the whole row with a mask of all pairs."""
    visible = (segments[:, None] == segments) | (segments == 0)
    visible &= torch.ones_like(visible).tril()
    return scaled_dot_product_attention(query, key, value, attn_mask=visible, enable_gqa=True)
