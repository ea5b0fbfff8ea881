"""The largest pack has as many views as its table allows, and no more than its tokens carry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmcore.data.largest import largest_pack
from mmcore.data.most_views import most_views
from mmcore_tiling.spec import AnyResTilerSpec, SingleTilerSpec


@given(st.integers(1, 200), st.integers(1, 200))
def test_where_a_group_is_a_view_the_smaller_bound_counts(max_views, room) -> None:
    for tiler in (SingleTilerSpec(), AnyResTilerSpec()):
        assert most_views(tiler, max_views, room) == (min(max_views, room),) * 2


@given(st.integers(1, 200), st.integers(1, 200))
def test_of_pictures_in_one_group_each_no_pack_has_more(max_views, room) -> None:
    tiler = AnyResTilerSpec(merge="picture")  # five views of a picture at most
    views, groups = most_views(tiler, max_views, room)
    pictures = [5] * (max_views // 5) + [max_views % 5] * (max_views % 5 > 0)
    assert (views, groups) == (sum(pictures[:room]), len(pictures[:room]))


def test_a_pack_of_few_tokens_has_few_views_though_more_are_allowed(preparer) -> None:
    tiler = AnyResTilerSpec(merge="picture")
    tokens = preparer().tokens_per_view
    pack = largest_pack(preparer(tiler=tiler, max_tokens=2 * tokens + 1, max_views=64))
    assert (pack.views, len(pack.patch_mask_NP)) == (10, 2)
    assert len(pack.image_token_index_K) == 2 * tokens
