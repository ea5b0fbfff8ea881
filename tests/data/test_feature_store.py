"""Features are found by what a picture is and how it is cut, and by nothing else."""

from __future__ import annotations

import pickle
from contextlib import suppress

import attrs
import numpy as np
import pytest
import torch

from mmcore.data import feature_store
from mmcore.data.cached_views import CachedViews
from mmcore.data.feature_chunks import Entry, write_chunk
from mmcore.data.feature_header import HEADER, FeatureHeader, FeaturesError, read_header
from mmcore.data.feature_store import FeatureStore, MissingFeatures, key_of
from mmcore.data.largest import largest_pack
from mmcore.data.tokenized import PlannedPicture, TokenizedSample
from mmcore.interfaces import ImageRef, Rejection, SampleKey, TilePlan

HEAD = FeatureHeader(
    encoder={"use": "siglip", "depth": 2},
    weights="cafe",
    tiler={"use": "grid", "grids": [[1, 2]]},
    computed="fp32",
    stored="fp32",
    patches=4,
    width=3,
)
PLAN = TilePlan(width=20, height=10, cols=2, rows=1, views=3)


def picture(data: bytes = b"pixels", *, plan: TilePlan = PLAN, frame: int = 0) -> PlannedPicture:
    return PlannedPicture(ImageRef(data=data, frame=frame), plan, 0)


def views(count: int, seed: int, *, ordered: bool = False) -> CachedViews:
    draw = np.random.default_rng(seed)
    shape = (1, 4 * count) if ordered else (count, 4)
    return CachedViews(
        np.zeros((0, 3, 8, 8), dtype=np.uint8),
        draw.random(shape) > 0.5,
        draw.permutation(4 * count).reshape(shape) if ordered else None,
        features_NPD=torch.from_numpy(draw.normal(size=(count, 4, 3)).astype(np.float32)),
    )


def keep(folder, number: int, kept: dict[bytes, CachedViews], header=HEAD) -> None:
    folder.mkdir(exist_ok=True)
    (folder / HEADER).write_text(header.to_json())
    write_chunk(folder, number, [Entry(key, one) for key, one in kept.items()])


def test_every_entry_of_every_chunk_is_found_as_it_was(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(feature_store, "OPEN_CHUNKS", 2)
    wanted = {}
    for number in range(5):
        kept = {}
        for one in range(7):
            seed = 7 * number + one
            shown = picture(f"picture {seed}".encode())
            kept[key_of(shown)] = views(1 + one % 3, seed, ordered=one % 2 == 1)
            wanted[shown] = kept[key_of(shown)]
        keep(tmp_path / "f", number, kept)
    store = FeatureStore([str(tmp_path / "f")])
    sent = pickle.loads(pickle.dumps(store))
    assert store.entries == sent.entries == 35
    for shown, one in wanted.items():
        for found in (store.find(shown), sent.find(shown)):
            assert torch.equal(found.features_NPD, one.features_NPD)
            assert np.array_equal(found.patch_mask_NP, one.patch_mask_NP)
            if one.patch_order_NP is None:
                assert found.patch_order_NP is None
            else:
                assert np.array_equal(found.patch_order_NP, one.patch_order_NP)


@pytest.mark.parametrize(
    "other",
    [
        picture(b"pixelS"),
        picture(frame=1),
        picture(plan=attrs.evolve(PLAN, cols=1, rows=2)),
        picture(plan=attrs.evolve(PLAN, views=2)),
        picture(plan=attrs.evolve(PLAN, groups=1)),
        picture(plan=attrs.evolve(PLAN, width=21)),
    ],
)
def test_a_picture_that_changes_or_is_cut_otherwise_is_not_found(tmp_path, other) -> None:
    keep(tmp_path / "f", 0, {key_of(picture()): views(3, 0)})
    store = FeatureStore([str(tmp_path / "f")])
    assert store.find(picture()) is not None
    assert store.find(other) is None


def test_a_picture_that_moves_keeps_its_features(tmp_path) -> None:
    keep(tmp_path / "f", 0, {key_of(picture()): views(3, 0)})
    (tmp_path / "moved.png").write_bytes(b"pixels")
    there = PlannedPicture(ImageRef(path="moved.png", root=str(tmp_path)), PLAN, 7)
    assert FeatureStore([str(tmp_path / "f")]).find(there) is not None


def test_several_folders_are_one_store(tmp_path) -> None:
    keep(tmp_path / "a", 0, {key_of(picture(b"a")): views(3, 0)})
    keep(tmp_path / "b", 0, {key_of(picture(b"b")): views(3, 1)})
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    store = FeatureStore(folders)
    assert store.find(picture(b"a")) is not None
    assert store.find(picture(b"b")) is not None


def test_a_damaged_chunk_is_named(tmp_path) -> None:
    keep(tmp_path / "f", 0, {key_of(picture()): views(3, 0)})
    (path,) = (tmp_path / "f").glob("chunk-*")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FeaturesError, match=r"chunk-000000\.safetensors is no sound chunk"):
        FeatureStore([str(tmp_path / "f")]).find(picture())
    keep(tmp_path / "f", 0, {key_of(picture()): views(3, 0)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FeaturesError, match=r"no sound chunk of features \(entry 0 is not"):
        FeatureStore([str(tmp_path / "f")]).find(picture())


@pytest.mark.parametrize("ordered", [False, True])
def test_a_bit_that_was_lost_is_not_read_wherever_it_was(tmp_path, ordered) -> None:
    entries = [picture(b"a"), picture(b"b")]
    keep(tmp_path / "f", 0, {key_of(one): views(2, 0, ordered=ordered) for one in entries})
    (path,) = (tmp_path / "f").glob("chunk-*")
    sound = path.read_bytes()
    body, wanted, silent = 8 + int.from_bytes(sound[:8], "little"), views(2, 0, ordered=ordered), 0
    for place in range(body, len(sound), 5):
        lost = bytearray(sound)
        lost[place] ^= 0x10
        path.write_bytes(lost)
        for one in entries:
            found = None  # also where it is the name that was lost
            with suppress(FeaturesError):
                found = FeatureStore([str(tmp_path / "f")]).find(one)
            if found is not None:
                silent += 1
                assert torch.equal(found.features_NPD, wanted.features_NPD), place
    assert silent < 1.1 * len(range(body, len(sound), 5)), "one of the two is lost nearly always"


def test_a_sound_picture_without_features_is_a_fault_and_a_broken_one_a_rejection(
    tmp_path, preparer, encoded
) -> None:
    prepare = preparer()
    keep(tmp_path / "f", 0, {b"0" * 16: views(1, 0)})
    prepare = attrs.evolve(prepare, features=FeatureStore([str(tmp_path / "f")]))
    data = encoded(20, 10, 3)
    plan = prepare.tiler.plan(20, 10, prepare.view)

    def sample(data: bytes) -> TokenizedSample:
        nothing = np.zeros(0, dtype=np.int64)
        shown = (PlannedPicture(ImageRef(data=data), plan, 0),)
        return TokenizedSample(
            SampleKey("memory", "s0", 1), nothing, nothing > 0, shown, None, document=False
        )

    with pytest.raises(MissingFeatures, match=r"has no features in .*mmcore data cache RECIPE"):
        prepare.realise(sample(data))
    with pytest.raises(Rejection, match="image-unreadable"):
        prepare.realise(sample(data[: len(data) // 2]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": {"use": "siglip", "depth": 3}}, "encoder.depth was 2, is 3"),
        ({"encoder": {"use": "siglip"}}, "encoder.depth was 2, is None"),
        ({"tiler": {"use": "single"}}, "tiler.use was 'grid', is 'single'"),
        ({"computed": "bf16"}, "engine.precision was 'fp32', is 'bf16'"),
        ({"patches": 9}, "a view was 4 patches of width 3, is 9 patches of width 3"),
        ({"weights": "beef"}, "fingerprint was cafe, is beef"),
    ],
)
def test_what_differs_is_said_with_both_values(change, said) -> None:
    assert said in "; ".join(HEAD.differences(attrs.evolve(HEAD, **change)))


def test_a_header_is_read_back_as_it_was_and_equal_to_itself(tmp_path) -> None:
    assert read_header(tmp_path) is None
    (tmp_path / HEADER).write_text(HEAD.to_json())
    there = read_header(tmp_path)
    assert there == HEAD
    # A recipe's tables hold tuples, and files hold lists; unknown weights are not compared.
    tiler = {"use": "grid", "grids": ((1, 2),)}
    assert list(there.differences(attrs.evolve(HEAD, tiler=tiler, weights=""))) == []


@pytest.mark.parametrize(
    ("text", "said"), [("{", "no header"), ('{"format": 2}', "format 2"), ("[]", "no header")]
)
def test_a_file_that_is_no_header_is_named(tmp_path, text, said) -> None:
    (tmp_path / HEADER).write_text(text)
    with pytest.raises(FeaturesError, match=rf"features\.json .*{said}|features\.json is {said}"):
        read_header(tmp_path)


def test_the_largest_pack_brings_features_as_well(tmp_path, preparer) -> None:
    keep(tmp_path / "f", 0, {b"0" * 16: views(1, 0)})
    prepare = preparer()
    cached = attrs.evolve(prepare, features=FeatureStore([str(tmp_path / "f")]))
    pixels, features = largest_pack(prepare), largest_pack(cached)
    assert len(features.pixels_NCHW) == 0
    shape = len(pixels.pixels_NCHW), prepare.view.patches, HEAD.width
    assert features.features_NPD.shape == shape
    assert torch.equal(features.image_token_index_K, pixels.image_token_index_K)
