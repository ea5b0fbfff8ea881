"""The module. Letters: N views, P patches, D width."""

import torch
from torch import nn


class ClsVit(nn.Module):
    """pixels_NCHW (uint8) -> features_NPD, the class token left out."""

    def __init__(self, view, width, layers):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        self.patches = nn.Conv2d(3, width, view.patch_size, stride=view.patch_size)
        self.class_token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(0.02 * torch.randn(1 + view.patches, width))
        block = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=4 * width, dropout=0.0, batch_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)

    def forward(self, pixels_NCHW):
        normal_NCHW = (pixels_NCHW / 255 - self.mean) / self.std
        patches_NPD = self.patches(normal_NCHW).flatten(2).transpose(1, 2)
        class_N1D = self.class_token.expand(len(patches_NPD), 1, -1)
        x_NSD = torch.cat([class_N1D, patches_NPD], dim=1) + self.positions
        return self.blocks(x_NSD)[:, 1:]
