"""Noise is that of a diffusion's forward process, and the same wherever it is drawn."""

import math

import pytest
import torch

from mmcore.preparing.noise import kept_share, noised


def by_steps(step: int) -> float:
    """What is left of a picture's variance, one step after another."""
    kept = 1.0
    for number in range(step + 1):
        place = -6 + 12 * number / 999
        beta = 1 / (1 + math.exp(-place)) * (5e-3 - 1e-5) + 1e-5
        kept *= 1 - beta
    return kept


@pytest.mark.parametrize("step", [0, 1, 250, 500, 999])
def test_the_share_is_what_the_steps_leave(step):
    assert kept_share(step) == pytest.approx(by_steps(step), rel=1e-9)


def test_little_noise_leaves_the_picture_and_much_leaves_none_of_it():
    torch.manual_seed(0)
    # Grey in the middle of the range, so that next to nothing is cut off at its ends.
    clean = torch.randint(100, 156, (2, 3, 64, 64), dtype=torch.uint8)
    hardly = noised(clean, 0, seed=1).float() - clean.float()
    assert hardly.std() == pytest.approx((1 - kept_share(0)) ** 0.5 * 127.5, rel=0.15)
    half = noised(clean, 300, seed=1).float() / 127.5 - 1
    share = kept_share(300)
    wanted = share * (clean.float() / 127.5 - 1).var() + (1 - share)
    assert half.var() == pytest.approx(wanted.item(), rel=0.05)
    gone = noised(clean, 999, seed=1).float().flatten()
    correlation = torch.corrcoef(torch.stack([gone, clean.float().flatten()]))[0, 1]
    assert abs(correlation) < 0.05
    assert gone.min() == 0
    assert gone.max() == 255


def test_the_seed_alone_decides():
    clean = torch.full((3, 3, 8, 8), 127, dtype=torch.uint8)
    assert torch.equal(noised(clean, 500, 7), noised(clean, 500, 7))
    assert not torch.equal(noised(clean, 500, 7), noised(clean, 500, 8))
    views = noised(clean, 500, 7)
    assert not torch.equal(views[0], views[1]), "every view has its own"
