"""A collated pack equals what a naive loop over tokens writes down."""

from typing import Any

import attrs
import numpy as np
import pytest
import torch

from mmcore.data.collate import blank_batch, collate
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import ImagePart, ImageRef, PackedBatch, Sample, SampleKey, TextPart


def make(preparer: Any, encoded: Any, *, pictures: bool, learned: bool) -> tuple[Any, ...]:
    prepare = preparer()
    samples: list[TokenizedSample] = []
    for row, text in enumerate(("ab", "c", "defg")):
        ref = ImageRef(data=encoded(9 + 9 * row, 10, row))
        shown = [ImagePart(ref, "user")] * row if pictures else []
        turns = [TextPart("q", "user", loss=False), TextPart(text, "assistant", loss=learned)]
        key = SampleKey("src", "s", row)
        if learned:
            samples += prepare.tokenize(Sample(key, (*shown, *turns)), "split")
        else:
            samples.append(prepare.prompt(key, (*shown, *turns)))
    tiles = [prepare.realise(one) for one in samples]
    batch = collate(samples, tiles, view=prepare.view, tokens_per_view=3, lane=2)
    return samples, tiles, batch


def naive(samples: list[TokenizedSample]) -> dict[str, list[int]]:
    """All index tensors, token by token."""
    out: dict[str, list[int]] = {name: [] for name in ("ids", "pos", "at", "target", "of", "image")}
    borders = [0]
    for number, sample in enumerate(samples):
        start = borders[-1]
        for place, one in enumerate(sample.input_ids_T.tolist()):
            out["ids"].append(one)
            out["pos"].append(place)
            if one == 258:
                out["image"].append(start + place)
            if place and sample.learned_T[place]:
                out["at"].append(start + place - 1)
                out["target"].append(one)
                out["of"].append(number)
        borders.append(start + len(sample.input_ids_T))
    return {**out, "borders": borders}


def test_against_a_naive_reference(preparer: Any, encoded: Any) -> None:
    samples, tiles, batch = make(preparer, encoded, pictures=True, learned=True)
    want = naive(samples)
    assert batch.input_ids_T.tolist() == want["ids"]
    assert batch.position_ids_T.tolist() == want["pos"]
    assert batch.cu_seqlens.tolist() == want["borders"]
    assert batch.label_index_L.tolist() == want["at"]
    assert batch.targets_L.tolist() == want["target"]
    assert batch.label_segment_L.tolist() == want["of"]
    assert batch.image_token_index_K.tolist() == want["image"]
    assert batch.label_weight_L.tolist() == [1.0] * len(want["at"])
    views = [view for one in tiles for tile in one for view in tile.pixels_NCHW]
    masks = [mask for one in tiles for tile in one for mask in tile.patch_mask_NP]
    assert np.array_equal(batch.pixels_NCHW.numpy(), np.stack(views))
    assert np.array_equal(batch.patch_mask_NP.numpy(), np.stack(masks))
    assert [s.labels for s in batch.segments] == [want["of"].count(n) for n in range(3)]
    assert [(s.start, s.stop) for s in batch.segments] == list(
        zip(want["borders"], want["borders"][1:], strict=False)
    )
    assert batch.views == len(views) == len(want["image"]) // 3
    assert (batch.tokens, batch.labels, batch.lane) == (len(want["ids"]), len(want["at"]), 2)


def test_types(preparer: Any, encoded: Any) -> None:
    for batch in (
        make(preparer, encoded, pictures=True, learned=True)[2],
        make(preparer, encoded, pictures=False, learned=False)[2],
        blank_batch(preparer().view, preparer().text),
    ):
        assert {
            name: getattr(batch, name).dtype
            for name in PackedBatch.__slots__
            if isinstance(getattr(batch, name, None), torch.Tensor)
        } == {
            "input_ids_T": torch.int64,
            "position_ids_T": torch.int64,
            "cu_seqlens": torch.int32,
            "label_index_L": torch.int64,
            "targets_L": torch.int64,
            "label_weight_L": torch.float32,
            "pixels_NCHW": torch.uint8,
            "patch_mask_NP": torch.bool,
            "image_token_index_K": torch.int64,
            "label_segment_L": torch.int32,
        }


def test_patch_orders_are_counted_through_the_pack(preparer: Any, encoded: Any) -> None:
    samples, tiles, plain = make(preparer, encoded, pictures=True, learned=True)
    assert plain.patch_order_NP is None
    views = sum(one.views for one in samples)
    last = tiles[2][1]  # one picture of many has an order of its own
    own = np.arange(last.patch_mask_NP.size)[::-1].reshape(last.patch_mask_NP.shape)
    reordered = [*tiles[:2], (tiles[2][0], attrs.evolve(last, patch_order_NP=own))]
    batch = collate(samples, reordered, view=preparer().view, tokens_per_view=3, lane=2)
    patches = list(range(views * 4))
    kept = len(patches) - own.size
    assert batch.patch_order_NP.flatten().tolist() == patches[:kept] + patches[kept:][::-1]
    assert batch.patch_order_NP.shape == batch.patch_mask_NP.shape
    assert batch.to("cpu").patch_order_NP.dtype == torch.int64


def test_groups_of_unequal_size_stand_side_by_side_and_the_mask_hides_the_rest(
    preparer: Any, encoded: Any
) -> None:
    class Whole(type(preparer().tiler)):
        """All views of a picture as one group."""

        def plan(self, *args: Any, **keys: Any) -> Any:
            return attrs.evolve(super().plan(*args, **keys), groups=1)

        def cut(self, image: Any, plan: Any, view: Any) -> Any:
            tiles = super().cut(image, plan, view)
            order = np.arange(tiles.patch_mask_NP.size)[None]
            mask = tiles.patch_mask_NP.reshape(1, -1)
            return attrs.evolve(tiles, patch_mask_NP=mask, patch_order_NP=order)

    prepare = attrs.evolve(preparer(), tiler=Whole())
    pictures = [ImagePart(ImageRef(data=encoded(*size, 1)), "user") for size in ((9, 10), (16, 16))]
    parts = (*pictures, TextPart("q", "user"))
    sample = prepare.prompt(SampleKey("src", "s", 0), parts)
    small, large = prepare.realise(sample)
    assert [one.plan.views for one in sample.pictures] == [1, 5]
    batch = collate([sample], [(small, large)], view=prepare.view, tokens_per_view=3, lane=0)
    assert batch.pixels_NCHW.shape[0] == 6
    assert len(batch.image_token_index_K) == 2 * 3
    assert batch.patch_mask_NP.shape == batch.patch_order_NP.shape == (2, 5 * 4)
    assert batch.patch_mask_NP[0].tolist() == [*small.patch_mask_NP[0].tolist(), *[False] * 16]
    assert batch.patch_order_NP[0, :4].tolist() == [0, 1, 2, 3]
    assert batch.patch_order_NP[1].tolist() == list(range(4, 24))


def test_an_order_of_another_shape_is_the_tilers_fault(preparer: Any, encoded: Any) -> None:
    prepare = preparer()

    class Wrong(type(prepare.tiler)):
        def cut(self, image: Any, plan: Any, view: Any) -> Any:
            return attrs.evolve(super().cut(image, plan, view), patch_order_NP=np.arange(3))

    parts = (ImagePart(ImageRef(data=encoded(9, 10, 1)), "user"), TextPart("q", "user"))
    wrong = attrs.evolve(prepare, tiler=Wrong())
    sample = wrong.prompt(SampleKey("src", "s", 0), parts)
    with pytest.raises(ValueError, match=r"'grid' orders patches in \(3,\), wanted \(1, 4\)"):
        wrong.realise(sample)


def test_no_pictures_means_one_blank_view_that_goes_nowhere(preparer: Any, encoded: Any) -> None:
    batch = make(preparer, encoded, pictures=False, learned=True)[2]
    assert batch.pixels_NCHW.shape == (1, 3, 8, 8)
    assert not batch.patch_mask_NP.any()
    assert batch.patch_mask_NP.shape == (1, 4)
    assert len(batch.image_token_index_K) == 0
    assert batch.views == 0


def test_no_labels_means_one_row_of_weight_zero(preparer: Any, encoded: Any) -> None:
    batch = make(preparer, encoded, pictures=True, learned=False)[2]
    assert batch.label_weight_L.tolist() == [0.0]
    assert batch.label_index_L.tolist() == [0]
    assert 0 <= int(batch.targets_L) < 264
    assert batch.labels == 0


def test_a_blank_pack_counts_for_nothing(preparer: Any) -> None:
    batch = blank_batch(preparer().view, preparer().text)
    assert (batch.tokens, batch.views, batch.labels, batch.segments) == (0, 0, 0, ())
    assert batch.lane == -1
    assert batch.cu_seqlens.tolist() == [0, 1]
    assert batch.lengths == (1,)
    assert batch.label_weight_L.sum() == 0
