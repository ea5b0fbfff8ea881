"""A check reports every source by itself, and every fault at once."""

import itertools
from pathlib import Path

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.cli.findings import check_lines
from mmcore.data.faults import DataFault
from mmcore.inspection.check import check
from mmcore.inspection.rows import GIVE_UP, SPREAD, rows_from_all_over
from mmcore.inspection.stages import InspectionError, looked_at
from mmcore.interfaces import Shard
from mmcore.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
FOR_ITS_SIZE = {"too-long", "too-many-views", "picture-too-large"}


def test_one_bad_source_does_not_hide_the_others(look, captions, png, tmp_path):
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "0.parquet").write_bytes(b"PAR1, and then nothing")
    good = captions("good", [(f"cat {n}", png()) for n in range(10)], shards=2)
    empty = captions("empty", [])
    found = look(
        {
            "one": [
                ("cc3m", str(tmp_path / "nowhere/*.parquet")),
                ("cc12m", str(tmp_path / "cut/*.parquet")),
                ("sbu", good),
                ("datacomp", empty, 'caption_column = "caption"'),
            ]
        }
    )
    [stage] = check(found, rows=6)
    missing, cut, sound, nothing = stage.sources
    assert "no file matches" in missing.faults[0]
    assert "'cc3m' comes from https://" in missing.faults[0]
    assert "cannot be read as parquet" in cut.faults[0]
    assert "holds no rows" in nothing.faults[0]
    assert [len(one.faults) for one in stage.sources] == [1, 1, 0, 1]
    assert list(map(len, stage.violations)) == [1, 1, 1]
    assert (sound.files, sound.rows, sound.read, sound.accepted) == ("2 parquet", 10, 6, 6)
    assert (missing.files, missing.rows) == ("", None)
    # The mixture is that of the source that can be read.
    assert [one.label for one in stage.mixture.shares] == ["sbu"]
    assert stage.mixture.shares[0].drawn == 1.0
    told = "\n".join(check_lines([stage], [], paths=True))
    assert "views are filled; nothing of cc3m, cc12m, datacomp" in told
    assert told.index("no file matches") < told.index("cannot be read") < told.index("holds no")


def test_rejected_rows_are_counted_by_reason_with_an_example(look, captions, png):
    rows = [(f"cat {n}", png()) for n in range(12)]
    rows[3] = ("the picture is a web page", b"<html>not found</html>")
    rows[5] = (None, png())
    rows[7] = ("its end is missing", png()[:-40])
    rows[8] = ("a dead link", None)
    path = captions("messy", rows)
    [stage] = check(look({"one": [("cc3m", path)]}), rows=50)
    [source] = stage.sources
    reasons = {one.reason: one for one in source.rejected}
    assert {reason: one.rows for reason, one in reasons.items()} == {
        "image-unreadable": 2,
        "caption-missing": 1,
        "image-missing": 1,
    }
    assert reasons["image-unreadable"].key == "cc3m:000.parquet:3"
    assert "<html>" in reasons["image-unreadable"].detail
    assert (source.read, source.accepted) == (12, 8)
    assert "4 of 12 rows were rejected (33.3%), data.max_rejected_share is 5.0%" in source.faults[0]
    [stage] = check(look({"one": [("cc3m", path)]}, ["data.max_rejected_share=0.5"]), rows=50)
    assert stage.violations == []


def test_what_was_done_to_make_samples_fit_is_counted(look, captions, png):
    """128 tokens and 16 views a pack; a picture takes 12 to 20 tokens, every word some."""
    long = " ".join(["word"] * 300)
    split = captions("split", [("short", png()), (long, png()), (long, png())])
    cut = captions("cut", [("short", png()), (long, png())])
    found = look({"one": [("cc3m", split), ("sbu", cut, 'overflow = "truncate"')]})
    first, second = check(found, rows=10)[0].sources
    assert (first.split, first.truncated, first.rejected) == (2, 0, ())
    assert first.samples > first.accepted == 3
    assert (second.split, second.truncated, second.samples) == (0, 1, 2)
    assert first.tokens.most == second.tokens.most == 128
    assert (first.pictures.least, first.pictures.most) == (0, 1)  # later pieces have none


def test_a_fault_of_code_names_the_sample_and_the_look_goes_on(look, captions, png, monkeypatch):
    from mmcore_blip3.caption_pairs import CaptionPairs

    parse = CaptionPairs.parse

    def broken(self, row, key):
        if key.row == 1:
            raise KeyError("colour")
        return parse(self, row, key)

    monkeypatch.setattr(CaptionPairs, "parse", broken)
    path = captions("rows", [(f"cat {n}", png()) for n in range(4)])
    [source] = check(look({"one": [("cc3m", path)]}), rows=4)[0].sources
    assert source.faults == ("sample cc3m:000.parquet:1: KeyError: 'colour'",)
    assert (source.read, source.accepted) == (4, 3)


def test_code_that_fails_on_every_row_is_not_run_on_all(look, captions, png, monkeypatch):
    from mmcore_blip3.caption_pairs import CaptionPairs

    def broken(self, row, key):
        raise KeyError("caption")

    monkeypatch.setattr(CaptionPairs, "parse", broken)
    path = captions("rows", [(f"cat {n}", png()) for n in range(50)])
    [source] = check(look({"one": [("cc3m", path)]}), rows=50)[0].sources
    assert (source.read, len(source.faults)) == (GIVE_UP, GIVE_UP)


def test_of_many_faults_of_one_source_a_few_are_shown(look, captions, png):
    [stage] = check(look({"one": [("cc3m", captions("rows", [("a cat", png())]))]}), rows=1)
    many = attrs.evolve(stage.sources[0], faults=tuple(f"fault {n}" for n in range(9)))
    found = attrs.evolve(stage, sources=(many, attrs.evolve(many, faults=("another",))))
    told = list(check_lines([found], [], paths=False))
    assert "10 faults" in told[-6]
    assert told[-5:] == [
        "  one: fault 0",
        "  one: fault 1",
        "  one: fault 2",
        "    and 6 more of it, which --json lists",
        "  one: another",
    ]


def test_rows_of_many_files_without_footers_are_not_counted(look, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(SPREAD + 1):
        (tmp_path / "many" / f"{number}.json").write_text("[]")
    found = look({"one": [("llava-json", f"{tmp_path}/many/*.json")]})
    [source] = check(found, rows=4)[0].sources
    assert (source.files, source.rows) == (f"{SPREAD + 1} json", None)


@attrs.frozen
class Lengths:
    """A reader of shards of these lengths; None breaks."""

    lengths: list[int | None]
    label: str = "source"

    @property
    def shards(self):
        return [Shard(str(n), str(n)) for n in range(len(self.lengths))]

    def length(self, shard):
        length = self.lengths[int(shard.name)]
        if length is None:
            raise DataFault(shard.name)
        return length

    def rows(self, shard, start, stop):
        assert 0 <= start <= stop <= self.lengths[int(shard.name)]
        return ((n, {}) for n in range(start, stop))


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 60))
def test_as_many_rows_as_wanted_or_as_there_are_are_read_once(lengths, wanted):
    keys = [key for key, _ in rows_from_all_over(Lengths(lengths), wanted)]
    assert len(set(keys)) == len(keys) == min(wanted, sum(lengths))


@settings(max_examples=20)
@given(st.integers(SPREAD, 200), st.integers(SPREAD, 40))
def test_rows_come_from_all_over_the_shards(shards, wanted):
    found = {int(key.shard) for key, _ in rows_from_all_over(Lengths([100] * shards), wanted)}
    assert len(found) == SPREAD
    gaps = [b - a for a, b in itertools.pairwise([*sorted(found), shards])]
    assert max(gaps) <= shards // SPREAD + 1


def test_a_broken_source_is_given_up_after_a_few_faults():
    found = list(rows_from_all_over(Lengths([None] * 1000), 10))
    assert len(found) == GIVE_UP
    assert all(isinstance(one, DataFault) for one in found)


def test_of_a_broken_shard_the_others_give_its_rows():
    found = list(rows_from_all_over(Lengths([20, None, 20]), 10))
    assert sum(isinstance(one, DataFault) for one in found) == 1
    assert len(found) == 11


@pytest.mark.parametrize("name", ["pretrain-base", "pretrain-anyres", "sft-single", "sft-multi"])
def test_nothing_of_the_14b_mixtures_is_rejected_for_its_size(name):
    """Up to 13 views of 128 tokens a picture, six pictures a document, in packs that hold one."""
    smaller = "" if name == "pretrain-base" else f"stages.{name}.batch.max_tokens=1800"
    recipe = load_recipe(RECIPES / "blip3_14b.toml", [smaller] if smaller else [])
    with looked_at(recipe, stage=name, made_up=6) as look:
        [stage] = check(look, rows=6)
    assert stage.violations == []
    assert [one.label for one in stage.sources if one.rejected] == []
    assert all(one.read == one.accepted == 6 for one in stage.sources)
    if name == "pretrain-anyres":
        assert sum(one.shrunk for one in stage.sources) > 0
    for share in stage.mixture.shares:
        assert abs(share.drawn - share.wanted) < 0.01


def test_long_documents_with_twelve_tiles_are_shrunk_and_split_but_kept(tmp_path, png):
    """Show 0 at the recipe's own bounds: 20 paragraphs and 5 pictures of 3 x 4 tiles each."""
    slots = 25
    pictured = [n % 5 == 0 for n in range(slots)]
    words = " ".join(["zebra"] * 60)
    row = {
        "images": [f"https://example.org/{n}" if one else None for n, one in enumerate(pictured)],
        "texts": [None if one else words for one in pictured],
        "image_bytes": [png(1152, 1536) if one else None for one in pictured],
    }
    table = pa.Table.from_pylist(
        [row] * 3,
        schema=pa.schema(
            {
                "images": pa.list_(pa.string()),
                "texts": pa.list_(pa.string()),
                "image_bytes": pa.list_(pa.binary()),
            }
        ),
    )
    pq.write_table(table, tmp_path / "0.parquet")
    recipe = load_recipe(RECIPES / "blip3_14b.toml")
    stage = next(one for one in recipe.stages if one.name == "pretrain-anyres")
    obelics = next(one for one in stage.data if one.name == "obelics")
    moved = attrs.evolve(stage, data=(attrs.evolve(obelics, path=str(tmp_path / "0.parquet")),))
    tiny = attrs.evolve(recipe.model, llm=recipe.model.llm.tiny())
    with looked_at(attrs.evolve(recipe, model=tiny, stages=(moved,))) as look:
        [found] = check(look, rows=3)
    [source] = found.sources
    assert (source.rejected, source.faults) == ((), ())
    assert (source.read, source.accepted, source.split) == (3, 3, 3)
    assert source.views.most >= 13  # whole documents shrink no picture: pieces keep twelve tiles
    assert source.tokens.most <= 4096
    assert not FOR_ITS_SIZE & {one.reason for one in source.rejected}


def test_unknown_names_come_with_the_nearest(recipe, captions, png):
    path = captions("some", [("a cat", png())])
    made = recipe({"first": [("cc3m", path)], "second": [("sbu", path)]})
    with (
        pytest.raises(InspectionError, match="no stage is called 'frist'; did you mean 'first'"),
        looked_at(made, stage="frist"),
    ):
        pass
    with (
        pytest.raises(InspectionError, match=r"no source of stage 'first' is called 'sbu' \(there"),
        looked_at(made, stage="first", source="sbu"),
    ):
        pass
    with looked_at(made, source="sbu") as look:
        assert [one.stage.name for one in look.stages] == ["second"]


def test_without_its_tokenizer_a_recipe_can_be_looked_at_on_made_up_rows_only():
    recipe = load_recipe(RECIPES / "blip3_14b.toml")
    with pytest.raises(InspectionError, match="tokenizer"), looked_at(recipe):
        pass
    with looked_at(recipe, stage="sft-single", made_up=4) as look:
        folder = Path(look.stages[0].sources[0][1].path).parents[2]
        assert "tokenizer" in look.notes[1]
        assert folder.exists()
    assert not folder.exists()
