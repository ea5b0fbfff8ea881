"""SigLIP's vision transformer as timm builds it, from uint8 pixels to patch features.

Letters: N views, C/H/W channels, height, width of a view, P patches of a view, D encoder width,
A attention heads, M width of a head.
"""

from __future__ import annotations

from typing import Literal

import torch
from timm.layers.attention import Attention as TimmAttention
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mmcore.interfaces import Attention
from mmcore.kit.attention import scaled_attention


class Siglip(nn.Module):
    """``pixels_NCHW`` (uint8) -> ``features_NPD``: the last block's output after the final norm.

    The attention-pooling head of the pretrained model is kept, so that its weights travel with
    checkpoints, but nothing here uses it: it is frozen for good.

    Args:
        width, depth, heads, mlp_width: D, number of blocks, A, inner width of the MLPs.
        patch_size, image_size: sides in pixels; what a whole patch does not reach is not seen.
        positions: a learned table, or a fixed one of sines and cosines.
        recompute: compute the blocks again in the backward pass, to save memory.
        attention: which kernel is used.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        mlp_width: int,
        patch_size: int,
        image_size: int,
        positions: Literal["learned", "sincos"],
        recompute: bool = False,
        attention: Attention,
    ) -> None:
        super().__init__()
        self.trunk = VisionTransformer(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=(mlp_width + 0.5) / width,  # timm rounds the product down
            class_token=False,
            global_pool="map",
            num_classes=0,
            act_layer="gelu_tanh",
            attn_layer=KernelAttention,
        )
        self.trunk.set_grad_checkpointing(recompute)
        self.trunk.attn_pool.requires_grad_(False)
        for module in self.trunk.modules():
            if isinstance(module, KernelAttention):
                module.kernel = attention
        if positions == "sincos":
            table_PD = build_sincos2d_pos_embed(self.trunk.patch_embed.grid_size, width)
            del self.trunk.pos_embed
            self.trunk.register_buffer("pos_embed", table_PD[None], persistent=False)
            # The table stays float32 where an engine makes the weights bfloat16.
            self.trunk.pos_drop.register_forward_pre_hook(
                lambda _, inputs: inputs[0].to(self.trunk.patch_embed.proj.weight.dtype)
            )

    def forward(self, pixels_NCHW: torch.Tensor) -> torch.Tensor:
        """``pixels_NCHW`` (0..255) -> ``features_NPD``."""
        dtype = self.trunk.patch_embed.proj.weight.dtype
        features_NPD: torch.Tensor = self.trunk.forward_features(
            (pixels_NCHW.float() / 127.5 - 1.0).to(dtype)  # SigLIP's mean and deviation are 0.5
        )
        return features_NPD


class KernelAttention(TimmAttention):
    """timm's self-attention, computed by the chosen kernel."""

    kernel: Attention = "sdpa"

    def forward(
        self,
        x: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        is_causal: bool = False,
    ) -> torch.Tensor:
        """``x_NPD -> x_NPD``; the encoder asks for no mask."""
        assert attn_mask is None
        assert not is_causal
        qkv_NP3AM = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        q_NAPM, k_NAPM, v_NAPM = qkv_NP3AM.permute(2, 0, 3, 1, 4)
        out_NAPM = scaled_attention(q_NAPM, k_NAPM, v_NAPM, kernel=self.kernel)
        out_NPD: torch.Tensor = self.proj(out_NAPM.transpose(1, 2).flatten(2))
        return out_NPD
