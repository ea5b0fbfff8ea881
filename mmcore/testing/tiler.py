"""What a tiler promises.

Letters: N views, P patches of a view, C/H/W channels, height, width.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmcore.interfaces import TilerSpec, ViewFormat
from mmcore.testing.spec import check_spec

SIZES = [(1, 1), (40, 30), (64, 64), (300, 20), (20, 300), (500, 400)]


def check_tiler(spec: TilerSpec, view: ViewFormat) -> None:
    """Plans keep their bounds, and cutting gives exactly what was planned.

    Raises:
        AssertionError: what is broken, with the sizes.
    """
    check_spec(spec)
    for width, height in SIZES:
        free = spec.plan(width, height, view)
        assert 1 <= free.views <= spec.max_views, f"{free.views} views of {spec.max_views}"
        for most in range(1, spec.max_views + 1):
            plan = spec.plan(width, height, view, max_views=most)
            assert 1 <= plan.views <= most, f"{plan.views} views where {most} are allowed: {plan}"
            image = Image.fromarray(np.full((height, width, 3), 200, dtype=np.uint8))
            tiles = spec.cut(image, plan, view)
            assert tiles.pixels_NCHW.shape == (plan.views, 3, view.size, view.size)
            assert tiles.pixels_NCHW.dtype == np.uint8
            assert plan.groups <= spec.max_groups, f"{plan.groups} groups of {spec.max_groups}"
            groups, patches = tiles.patch_mask_NP.shape
            assert groups == plan.groups, f"{groups} groups where {plan.groups} are planned"
            assert patches in spec.group_sizes(view), f"a group of {patches} patches: {plan}"
            assert tiles.patch_mask_NP.size == plan.views * view.patches
            assert tiles.patch_mask_NP.dtype == np.bool_
            if tiles.patch_order_NP is not None:
                everything = np.arange(plan.views * view.patches)
                assert tiles.patch_order_NP.shape == tiles.patch_mask_NP.shape
                assert (np.sort(tiles.patch_order_NP, axis=None) == everything).all(), (
                    f"every patch stands in one group, once: {plan}"
                )
                moved = (tiles.patch_order_NP.ravel() != everything).any()
                assert spec.regroups or not (moved or groups != plan.views), (
                    f"regroups is False, but groups are not the views as they are: {plan}"
                )
            assert (tiles.pixels_NCHW[0] == 200).all(), "the whole view comes first"
            if tiles.patch_order_NP is None:
                assert tiles.patch_mask_NP[0].all(), "the whole view has no border"
            for reduced in plan.decoded_sizes(spec.least_size(plan, view))[1:]:
                again = spec.cut(image.resize(reduced), plan, view)
                assert (again.patch_mask_NP == tiles.patch_mask_NP).all(), (
                    f"the mask is another one where the picture was reduced to {reduced}"
                )
