"""What an encoder promises.

Letters: N views, P patches of a view, D encoder width, C/H/W channels, height, width.
"""

from __future__ import annotations

import torch

from mmcore.interfaces import EncoderSpec
from mmcore.testing.spec import check_spec


def check_encoder(spec: EncoderSpec) -> None:
    """The tiny form gives features of the promised shape, view by view, and can learn.

    Raises:
        AssertionError: what is broken, with the shapes or values.
    """
    tiny, thin = spec.tiny(), spec.thin()
    assert type(tiny) is type(spec), f"tiny() changed the class to {type(tiny).__qualname__}"
    check_spec(tiny)
    check_spec(thin)
    assert thin.view == spec.view, f"thin() changed the views to {thin.view}"
    assert thin.feature_width == spec.feature_width, (
        f"thin() changed the width of the features to {thin.feature_width}"
    )
    torch.manual_seed(0)
    encoder = tiny.build(attention="sdpa")
    assert tiny.load(encoder) is None, "the tiny form must have random weights"

    view = tiny.view
    pixels_NCHW = torch.randint(0, 256, (3, 3, view.size, view.size), dtype=torch.uint8)
    features_NPD = encoder(pixels_NCHW)
    wanted = (3, view.patches, tiny.feature_width)
    assert tuple(features_NPD.shape) == wanted, (
        f"features have shape {tuple(features_NPD.shape)}, the spec promises {wanted}"
    )
    assert features_NPD.isfinite().all(), "features are not finite"
    assert features_NPD.std() > 0, "features do not depend on anything"

    alone_1PD = encoder(pixels_NCHW[1:2])
    torch.testing.assert_close(alone_1PD[0], features_NPD[1], rtol=1e-4, atol=1e-5)

    features_NPD.square().sum().backward()
    learning = [p for p in encoder.parameters() if p.requires_grad]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learning), (
        "no parameter receives a gradient"
    )
