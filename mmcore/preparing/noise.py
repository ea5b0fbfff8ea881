"""Pictures under the noise of a diffusion model's forward process, by the schedule of POVID's code.

Letters: N views, C/H/W channels, height, width.
"""

from __future__ import annotations

from typing import Final

import torch

STEPS: Final = 1000
"""Steps of the process; after the last, nothing of the picture is left."""

FIRST_BETA, LAST_BETA, SPREAD = 1e-5, 5e-3, 6.0
"""The variance added in a step rises from the first to the last, in the shape of a sigmoid from
``-SPREAD`` to ``SPREAD``."""


def kept_share(step: int) -> float:
    """How much of the picture's variance is left after ``step`` (counted from 0)."""
    assert 0 <= step < STEPS, step
    place = torch.linspace(-SPREAD, SPREAD, STEPS, dtype=torch.float64)
    betas = torch.sigmoid(place) * (LAST_BETA - FIRST_BETA) + FIRST_BETA
    return float((1.0 - betas).cumprod(0)[step])


def noised(pixels_NCHW: torch.Tensor, step: int, seed: int) -> torch.Tensor:
    """The views, uint8, with Gaussian noise; each with its own, the same wherever it is drawn.

    What leaves the range of pixels is cut off there.

    Args:
        pixels_NCHW: uint8, on the host.
        step: of the process, from 0 (hardly any noise) to 999 (hardly any picture).
        seed: of the noise.
    """
    assert pixels_NCHW.dtype == torch.uint8, pixels_NCHW.dtype
    kept = kept_share(step)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(pixels_NCHW.shape, generator=generator)
    clean = pixels_NCHW.float() / 127.5 - 1.0
    blurred = kept**0.5 * clean + (1.0 - kept) ** 0.5 * noise
    scaled_NCHW: torch.Tensor = (blurred.clamp(-1.0, 1.0) + 1.0) * 127.5
    return scaled_NCHW.round().to(torch.uint8)
