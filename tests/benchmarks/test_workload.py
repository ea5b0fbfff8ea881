"""Workloads: read from a file, made up, and turned into packs within their bounds."""

import itertools
import json

import attrs
import pytest

from mmcore import load_recipe
from mmcore.benchmarks.packs import Packer, drawn, made_up_workload, packer
from mmcore.benchmarks.workload import (
    Example,
    Workload,
    check_ids,
    made_up_examples,
    read_workload,
)
from mmcore.data.pair_texts import PairTexts
from mmcore.interfaces import PAIR_IDS, PAIR_VIEW, PAIR_WEIGHT, ViewFormat
from mmcore_tiling.spec import SingleTilerSpec

VIEW = ViewFormat(size=28, patch_rows=2, patch_cols=2, patch_size=14)
PLAIN = Packer(tiler=SingleTilerSpec(), view=VIEW, tokens_per_view=3, image_id=99)


@pytest.fixture
def timing(request):
    return request.config.rootpath / "tests" / "golden" / "timing"


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_packs_of_the_reference_workload_are_as_long_as_the_official_code_made_them(timing, size):
    official = json.loads((timing / "official.json").read_text())[size]
    workload = read_workload(timing / "workload.json")
    assert (len(workload.steps), workload.warmup) == (13, 3)
    recipe = load_recipe(timing / f"{size}.toml")
    packing = packer(recipe, recipe.stages[0], bounded=False)
    for number in (0, 5):
        [batch] = packing.packs(workload.steps[number])
        assert list(batch.lengths) == official["expanded_lengths"][number]
        assert batch.labels == official["supervised"][number]


def test_a_sample_with_a_picture():
    [batch] = PLAIN.packs([Example((1, -1, 7, 8, 9), prompt=3, sizes=((40, 20),))])
    assert batch.input_ids_T.tolist() == [1, 99, 99, 99, 7, 8, 9]
    assert batch.image_token_index_K.tolist() == [1, 2, 3]
    assert batch.targets_L.tolist() == [8, 9]  # the prompt is 1, the picture and 7
    assert batch.pixels_NCHW.shape == (1, 3, 28, 28)


def test_a_pack_is_closed_where_the_next_sample_does_not_fit():
    words = [Example(tuple(range(1, n + 1)), prompt=1, sizes=()) for n in (4, 5, 6, 2)]
    bounded = attrs.evolve(PLAIN, max_tokens=9, max_views=1)
    assert [batch.lengths for batch in bounded.packs(words)] == [(4, 5), (6, 2)]
    pictures = [Example((1, -1, 2), prompt=1, sizes=((9, 9),))] * 2
    assert [batch.views for batch in bounded.packs(pictures)] == [1, 1]
    with pytest.raises(ValueError, match=r"10 tokens and 0 views, a pack .* holds 9 and 1"):
        bounded.packs([Example(tuple(range(10)), prompt=1, sizes=())])


def test_made_up_packs_are_full_and_the_same_again(request):
    recipe = load_recipe(request.config.rootpath / "recipes" / "blip3_tiny.toml")
    stage = recipe.stages[1]
    workload = made_up_workload(recipe, stage, steps=4, packs=1)
    assert workload == made_up_workload(recipe, stage, steps=4, packs=1)
    assert (len(workload.steps), workload.warmup) == (5, 1)
    packs = [packer(recipe, stage, bounded=True).packs(step) for step in workload.steps]
    assert {len(one) for one in packs} == {1}
    assert sum(one[0].tokens for one in packs) > 5 * 0.6 * stage.batch.max_tokens
    assert any(one[0].views for one in packs)


def test_made_up_examples_have_as_many_pictures_as_places():
    examples = itertools.islice(made_up_examples(1, largest_id=50, side=28, longest=100), 200)
    for one in examples:
        assert one.ids.count(-1) == len(one.sizes)
        assert 16 <= len(one.ids) <= 100
        assert max(one.ids) <= 50
        assert one.prompt < len(one.ids)


def test_drawn_pictures_follow_the_formula():
    image = drawn(20, 10, 2)
    x, y = 9, 3
    want = tuple(
        (x * (3 + c) + y * (5 + 2 * c) + 64 * ((x // 8 + y // 8) % 2) + 31 * c + 34) % 256
        for c in range(3)
    )
    assert image.size == (20, 10)
    assert image.getpixel((x, y)) == want


SAMPLE = {"ids": [1, -1, 5], "prompt_len": 1, "image_sizes_wh": [[3, 4]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size|range"),
        ({"warmup_steps": 1}, "one step that is timed"),
        ({"samples": [SAMPLE | {"ids": [1, 2]}]}, "0 places for pictures and 1 sizes"),
        ({"samples": [{"ids": [1]}]}, "no workload"),
    ],
)
def test_a_file_that_is_no_workload_says_why(tmp_path, change, message):
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"batch_size": 8, "warmup_steps": 0, "samples": [SAMPLE]} | change))
    with pytest.raises(ValueError, match=message):
        read_workload(path)


def test_an_id_that_the_model_does_not_have_is_named():
    steps = ((Example((1, -1, 9), 1, ((4, 4),)),), (Example((1, 10, 2), 1, ()),))
    workload = Workload("w.json", steps, 0)
    check_ids(workload, 11)
    with pytest.raises(ValueError, match=r"w\.json: sample 1 has the id 10, wanted 0 to 9, or -1"):
        check_ids(workload, 10)


def test_an_example_with_one_picture_is_a_pair_where_the_stage_compares():
    texts = PairTexts(lambda words: [7, *words.encode(), 8], 5)
    packing = attrs.evolve(PLAIN, pair_texts=texts)
    one = Example((1, -1, 2), prompt=1, sizes=((9, 9),))
    two = Example((1, -1, -1, 2), prompt=1, sizes=((9, 9), (9, 9)))
    [batch] = packing.packs([two, one])
    assert batch.aux[PAIR_IDS].tolist() == [[7] * 5]
    assert batch.aux[PAIR_VIEW].tolist() == [2]
    assert batch.aux[PAIR_WEIGHT].tolist() == [1.0]
    [words] = packing.packs([Example((1, 2, 3), prompt=1, sizes=())])
    assert words.aux[PAIR_WEIGHT].tolist() == [0.0]
    [plain] = PLAIN.packs([one])
    assert plain.aux == {}
