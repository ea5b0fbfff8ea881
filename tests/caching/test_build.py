"""Features are those that a fresh encoder makes, are made once, and outlive whoever made them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import torch

import mmcore
from mmcore import assemble
from mmcore.caching.build import Encoding, views_of_a_row
from mmcore.caching.expected import check_folders
from mmcore.caching.fingerprint import encoder_fingerprint
from mmcore.caching.writer import begun
from mmcore.data.feature_chunks import Chunk, chunk_paths
from mmcore.data.feature_header import FeaturesError
from mmcore.interfaces import SyntheticContent, World
from mmcore.recipe import labels
from mmcore.run_folder.folder import RunFolderError
from mmcore.testing import check_source

SAME = ("input_ids_T", "patch_mask_NP", "image_token_index_K", "targets_L", "cu_seqlens")


def packs(recipe, *, cached: bool, steps: int = 2, ranks: int = 1, workers: int = 0):
    """Packs of some steps, those of all ranks in the order of their lanes."""
    (stage,) = recipe.stages
    text = recipe.model.llm.text()
    prepare = assemble.training_preparer if cached else assemble.preparer
    prepared = prepare(recipe.model, stage, text)
    recipe = attrs.evolve(recipe, data=attrs.evolve(recipe.data, workers=workers))
    found = []
    for rank in range(ranks):
        loader = assemble.pack_loader(recipe, stage, prepared, World(rank=rank, size=ranks))
        for step in range(steps):
            found += [(step, batch) for batch in loader.next_step().batches]
        loader.close()
    return [batch for _, batch in sorted(found, key=lambda one: (one[0], one[1].lane))]


@pytest.mark.parametrize("settings", [{}, {"ranks": 2}])
def test_packs_bring_what_the_encoder_makes_of_their_pixels(site, settings) -> None:
    recipe = site.recipe()
    encoding = site.encoding(recipe)
    site.cache(recipe, encoding)
    pixels = packs(recipe, cached=False)
    features = [one for one in packs(recipe, cached=True, **settings) if one.lane >= 0]
    assert max(len(one.pixels_NCHW) for one in pixels) > 5  # more than were encoded at once
    for theirs, ours in zip(pixels, features, strict=True):
        assert len(ours.pixels_NCHW) == 0
        assert theirs.segments == ours.segments
        for name in SAME:
            assert torch.equal(getattr(theirs, name), getattr(ours, name)), name
        with torch.no_grad():
            assert torch.equal(ours.features_NPD, encoding.encoder(theirs.pixels_NCHW))


def test_a_rank_that_ran_out_of_lanes_brings_features_too(site) -> None:
    recipe = site.recipe()
    site.cache(recipe)
    blank = next(one for one in packs(recipe, cached=True, ranks=2) if one.lane < 0)
    assert blank.features_NPD.shape == (1, 16, 32)
    assert not blank.features_NPD.any()


def test_half_the_bits_are_the_nearest_and_go_through_a_workers_pipe(site) -> None:
    recipe = site.recipe()
    site.cache(recipe, site.encoding(recipe, stored="bf16"))
    encoder = site.encoding(recipe).encoder
    pixels = packs(recipe, cached=False, steps=1)
    for theirs, ours in zip(pixels, packs(recipe, cached=True, steps=1, workers=1), strict=True):
        with torch.no_grad():
            exact = encoder(theirs.pixels_NCHW)
        assert torch.equal(ours.features_NPD, exact.bfloat16())


def test_what_is_there_is_not_made_again(site) -> None:
    recipe = site.recipe()
    first, second = site.cache(recipe), site.cache(recipe)
    assert (first.rows, first.rejected) == (30, 0)
    assert first.pictures > 30
    assert (second.pictures, second.encoded, second.views) == (first.pictures, 0, 0)
    more = site.cache(site.recipe("stages.only.data.0.synthetic.rows=40"))
    assert more.kept >= first.pictures
    assert 0 < more.encoded <= more.pictures - first.pictures


@attrs.frozen(eq=False)
class Dying(Encoding):
    """Ends its process in the middle, without a word, and with a file half written."""

    left: list[int]

    def __call__(self, tiles):
        self.left[0] -= 1
        if not self.left[0]:
            Path("features/.chunk-000099.safetensors.part").write_bytes(b"half")
            os._exit(9)
        return super().__call__(tiles)


def test_a_killed_build_loses_its_last_chunk_only(site) -> None:
    recipe = site.recipe()
    encoding = site.encoding(recipe, views=4)
    head = encoding.header
    dying = Dying(encoding.encoder, encoding.device, head, encoding.views, [6])
    child = os.fork()
    if not child:
        site.cache(recipe, dying, chunk_bytes=5 * head.view_bytes)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    kept = sum(Chunk(path).views for path in chunk_paths(Path("features")))
    assert kept >= 5

    again = site.cache(recipe, encoding)
    whole = site.cache(site.recipe("stages.only.data.0.features=whole"), encoding)
    assert again.views == whole.views - kept
    assert not list(Path("features").glob(".*.part"))
    for theirs, ours in zip(packs(recipe, cached=False), packs(recipe, cached=True), strict=True):
        with torch.no_grad():
            assert torch.equal(ours.features_NPD, encoding.encoder(theirs.pixels_NCHW))


def test_a_full_disk_is_named_and_leaves_nothing_half(site, monkeypatch) -> None:
    recipe = site.recipe()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        full_os = SimpleNamespace(**{**vars(os), "fsync": full})
        patched.setattr("mmcore.data.feature_chunks.os", full_os)
        with pytest.raises(OSError, match=r"No space left on device: 'features/chunk-000000"):
            site.cache(recipe)
    assert [path.name for path in Path("features").iterdir()] in (
        [".lock", "features.json"],
        ["features.json", ".lock"],
    )
    assert site.cache(recipe).kept < 30


def test_two_do_not_write_to_a_folder_at_once(site) -> None:
    recipe = site.recipe()
    header = site.encoding(recipe).header
    folder = Path("features")
    with (
        begun(folder, header),
        pytest.raises(
            RunFolderError, match=rf"process {os.getpid()}; .*data\.\*\.features=cache/o"
        ),
        begun(folder, header),
    ):
        pass


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.encoder.depth=2", "encoder.depth was 1, is 2"),
        ("model.encoder.image_size=40", "a view was 16 patches of width 32, is 25"),
        ("stages.only.tiler.use=single", "tiler.use was 'anyres', is 'single'"),
        ("engine.precision=bf16", "engine.precision was 'fp32', is 'bf16'"),
        ("seed=6", "the encoder's weights were others"),
    ],
)
def test_another_encoder_tiler_or_format_is_refused_when_read_and_when_written(
    site, override, said
) -> None:
    site.cache(site.recipe())
    other = site.recipe(override)
    encoding = site.encoding(other)
    with pytest.raises(FeaturesError, match=said):
        check_folders(other, other.stages, encoding.header.weights)
    with pytest.raises(FeaturesError, match=said):
        site.cache(other, encoding)


def test_a_folder_that_is_right_or_empty_or_of_other_bits(site) -> None:
    recipe = site.recipe()
    with pytest.raises(FeaturesError, match="stage 'only': features holds no features"):
        check_folders(recipe, recipe.stages)
    encoding = site.encoding(recipe)
    site.cache(recipe, encoding)
    check_folders(recipe, recipe.stages, encoding.header.weights)
    with pytest.raises(FeaturesError, match="stored as 'fp32', now are to be as 'bf16'"):
        site.cache(recipe, site.encoding(recipe, stored="bf16"))


def test_the_folders_of_a_stage_keep_features_in_one_number_format(site) -> None:
    one = """{ use = "puzzles", kinds = ["colour"], side = 48, shape_px = [12], others = [0],
        synthetic = { rows = 3 }, features = "FOLDER" }"""
    both = ", ".join(one.replace("FOLDER", name).replace("\n", "") for name in ("a", "b"))
    recipe = site.recipe(f"stages.only.data=[{both}]")
    for folder, stored in (("a", "fp32"), ("b", "bf16")):
        with begun(Path(folder), site.encoding(recipe, stored=stored).header):
            pass
    with pytest.raises(FeaturesError, match="several number formats: a fp32, b bf16; wanted one"):
        check_folders(recipe, recipe.stages)


def test_the_fingerprint_goes_by_values_alone(site) -> None:
    def of(*overrides: str, change: bool = False) -> str:
        recipe = site.recipe(*overrides)
        initial = assemble.initial_model(recipe.model, recipe.seed, torch.device("cpu"))
        if change:
            name, make = next(one for one in initial.values() if one[0].startswith("encoder."))
            value = make().clone()
            value.view(-1)[3] += 1e-6
            initial.instead({**dict(initial.values()), name: lambda: value})
        return encoder_fingerprint(initial)

    assert of() == of("model.llm.layers=2", "name=other", "model.encoder.recompute=true")
    assert len({of(), of("seed=6"), of(change=True), of("model.encoder.depth=2")}) == 4


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("puzzles", {"synthetic": SyntheticContent(rows=12)}),
        ("captioned-folder", {"path": "x"}),
        ("parquet", {"path": "x", "text_column": "caption"}),
    ],
)
def test_a_source_with_features_keeps_a_sources_promises(tmp_path, name, keys) -> None:
    check_source(mmcore.spec("source", name, features="cache", **keys), tmp_path)


def test_a_picture_that_comes_again_takes_no_room(site) -> None:
    recipe = site.recipe()
    (stage,) = recipe.stages
    ((label, spec),) = labels(stage)
    prepared = assemble.preparer(recipe.model, stage, recipe.model.llm.text())
    tally = site.cache(recipe)
    assert views_of_a_row(label, spec, prepared, 64) * 30 == pytest.approx(tally.views)
    assert tally.kept > 0, "no picture came again"
