"""Prepared pairs say what the model says; cut off anywhere, they come out the same."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import attrs
import pytest
import torch

from mmcore import assemble
from mmcore.data.collate import collate
from mmcore.data.reader import SourceReader
from mmcore.exchange import export_model
from mmcore.frozen import FrozenModelError, load_frozen
from mmcore.interfaces import ImagePart, SampleKey
from mmcore.preparing import Noised, PrepareError, prepare_dpo, stage_of, work_of
from mmcore.preparing.asking import Reference
from mmcore.preparing.prepare import _identity
from mmcore.recipe import load_recipe
from mmcore.training import checkpoint_format
from mmcore_sources.prepared_spec import PreparedPairsSpec

NOISE = Noised(step=300, longest=3)


def content(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, but for what a kill left of files that were not finished."""
    files = [one for one in folder.rglob("*") if one.is_file() and one.suffix != ".new"]
    return {str(one.relative_to(folder)): one.read_bytes() for one in files if one.name != ".lock"}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("once") / "prepared"


@pytest.fixture
def prepared(once, work, model):
    """The whole work, done without a break."""
    counts = prepare_dpo(work, model, once, noise=NOISE)
    return once, counts


def rows_of(folder: Path, pattern: str) -> list[dict]:
    return [
        json.loads(line)
        for path in sorted(folder.glob(pattern))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_every_row_is_written_or_rejected_by_name(prepared):
    folder, counts = prepared
    assert (counts.rows, counts.given, counts.noised) == (10, 7, 7)
    assert counts.reasons == {"equal-answers": 1, "image-missing": 1, "malformed-row": 1}
    named = [key for key, _, _ in counts.rejected]
    assert sorted(named) == [f"preference-pairs:a.jsonl:{n}" for n in (5, 6, 7)]
    assert "rejected is None" in {r: d for _, r, d in counts.rejected}["malformed-row"]
    given, noised = rows_of(folder, "given-*.jsonl"), rows_of(folder, "noised-*.jsonl")
    assert [one["of"] for one in given] == [one["of"] for one in noised]
    for one, other in zip(given, noised, strict=True):
        assert one["prompt"] == other["prompt"]
        assert one["chosen"] == other["chosen"]
        assert one["reference"]["chosen"] == pytest.approx(other["reference"]["chosen"], abs=1e-4)
        assert one["rejected"] != other["rejected"] != other["chosen"]
    assert len(list((folder / "pictures").rglob("*.png"))) == 3, "each picture is kept once"
    assert counts.agreed == sum(
        o["reference"]["chosen"] > o["reference"]["rejected"] for o in given
    )


def test_the_numbers_are_the_models_and_go_with_the_tokens(prepared, recipe, model):
    folder, _ = prepared
    spec = PreparedPairsSpec(path=str(folder / "*.jsonl"))
    reader = SourceReader("prepared-pairs", spec)
    preparer = assemble.preparer(recipe.model, recipe.stages[0], recipe.model.llm.text())
    frozen = load_frozen(recipe, model, torch.device("cpu"))
    seen = 0
    for shard in reader.shards:
        for number, row in reader.rows(shard, 0, reader.length(shard)):
            sample = reader.parse(row, SampleKey("prepared-pairs", shard.name, number))
            [pair] = preparer.tokenize(sample, "reject")  # refused, were they other tokens
            for one in pair.sequences:
                assert one.reference == pytest.approx(total(frozen, preparer, one), abs=1e-3)
                seen += 1
    assert seen == 2 * 14


@torch.no_grad()
def total(model, preparer, sequence) -> float:
    """Of the learned tokens of one sequence, packed alone, from whole logits."""
    tiles = [preparer.realise(sequence)]
    batch = collate(
        [sequence], tiles, view=preparer.view, tokens_per_view=preparer.tokens_per_view, lane=0
    )
    logits_TV = model.llm.head(model.hidden(batch)).log_softmax(-1)
    ids_T, learned_T = batch.input_ids_T, torch.from_numpy(sequence.learned_T)
    each_T = logits_TV[:-1].gather(1, ids_T[1:, None])[:, 0]
    return each_T[learned_T[1:]].sum().item()


class Killed(BaseException):
    """Nobody catches it, as nobody catches kill -9."""


class Pen:
    """Writes files, the last of them by half."""

    def __init__(self, files: float) -> None:
        self.left, self._write = files, checkpoint_format.write_file

    def __call__(self, path, pieces):
        self.left -= 1
        if self.left > 0:
            return self._write(path, pieces)
        path.write_bytes(b"".join(bytes(one) for one in pieces)[:40])
        raise Killed


@pytest.fixture
def life(work, model, monkeypatch):
    """``life(folder, files)``: the work until the last of so many files; the rows that were asked
    about, and the counts if it came to an end."""

    def life(folder, files):
        asked, honest = [], Reference.log_probabilities

        def listening(self, pairs):
            asked.extend(str(one.tag[0].key) for one in pairs)
            return honest(self, pairs)

        pen = Pen(files)
        with monkeypatch.context() as patched:
            patched.setattr(Reference, "log_probabilities", listening)
            for module in ("run_folder.folder", "preparing.pictures"):
                patched.setattr(f"mmcore.{module}.write_file", pen)
            try:
                return asked, prepare_dpo(work, model, folder, noise=NOISE)
            except Killed:
                return asked, None

    return life


@pytest.fixture
def cut_off(prepared, work, life, tmp_path):
    """``cut_off(files)``: in the last of so many files, and then to the end; whether there were as
    many."""
    whole, counts = prepared
    keys = {
        f"{unit.number:05}": [
            f"{unit.reader.label}:{unit.shard.name}:{row}" for row in range(unit.start, unit.stop)
        ]
        for unit in work.units
    }

    def cut_off(files: int) -> bool:
        folder = tmp_path / f"after-{files}"
        _, found = life(folder, files)
        if found is not None:
            return False
        done = [one.stem for one in (folder / "units").glob("*.json")]
        finished = {key for unit in done for key in keys[unit]}
        asked, found = life(folder, math.inf)
        assert found == counts
        assert content(folder) == content(whole)
        assert not list(folder.rglob("*.new"))
        assert not finished & set(asked), "a unit that was done is asked about again"
        return True

    return cut_off


@pytest.mark.parametrize("files", [1, 2, 5, 6, 9])
def test_cut_off_in_a_file_of_any_kind_it_gives_the_same_and_repeats_nothing(cut_off, files):
    assert cut_off(files)


@pytest.mark.slow
def test_cut_off_anywhere_it_gives_the_same_files_and_repeats_nothing(cut_off, work):
    files = 1
    while cut_off(files):
        files += 1
    assert files == 1 + 1 + 3 + 3 * len(work.units), "description, pictures, files of every unit"


def test_done_work_reads_no_weights(prepared, work, model, monkeypatch):
    folder, counts = prepared
    monkeypatch.setattr("mmcore.preparing.prepare.load_frozen", None)
    assert prepare_dpo(work, model, folder, noise=NOISE) == counts


def test_a_folder_is_of_one_work(prepared, work, recipe, model):
    folder, _ = prepared
    with pytest.raises(PrepareError, match=r"noise was \{'step': 300.*\}, is None; name another"):
        prepare_dpo(work, model, folder)
    other = work_of(recipe, recipe.stages[0], rows_per_file=4)
    with pytest.raises(PrepareError, match="rows_per_file was 3, is 4"):
        prepare_dpo(other, model, folder, noise=NOISE)
    with pytest.raises(PrepareError, match="was not made by `mmcore data prepare-dpo`"):
        prepare_dpo(work, model, folder.parent.parent / folder.parent.name)


def test_what_a_row_becomes_may_not_change_on_the_way(prepared, model):
    folder, _ = prepared
    other = load_recipe("pairs.toml", ['stages.dpo.data.0.overflow="reject"'])
    with pytest.raises(PrepareError, match=r"sources was .*'overflow': 'split'.* is .*'reject'"):
        prepare_dpo(work_of(other, other.stages[0], rows_per_file=3), model, folder, noise=NOISE)


def test_a_model_folder_is_told_by_its_values(recipe, model, tmp_path):
    folders = [tmp_path / name for name in ("one", "same", "other")]
    export_model(model, folders[0], "mmcore", probe=False)
    for folder in folders[1:]:
        shutil.copytree(folders[0], folder)
    [weights] = (folders[2] / "llm").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    one, same, other = map(_identity, folders)
    assert one == same != other


def test_where_no_picture_is_asked_about_there_is_none_to_put_noise_on(
    work, model, monkeypatch, tmp_path
):
    honest = SourceReader.parse

    def blind(self, row, key):
        sample = honest(self, row, key)
        parts = tuple(part for part in sample.parts if not isinstance(part, ImagePart))
        return attrs.evolve(sample, parts=parts) if key.row == 0 else sample

    monkeypatch.setattr(SourceReader, "parse", blind)
    counts = prepare_dpo(work, model, tmp_path / "blind", noise=NOISE)
    assert counts.given == 7
    assert counts.noised == 5
    assert counts.reasons["noised-without-picture"] == 2


def test_no_answer_goes_on_beyond_what_the_llm_reads(work, model, tmp_path):
    context = work.recipe.model.llm.context
    counts = prepare_dpo(work, model, tmp_path / "long", noise=Noised(step=300, longest=context))
    assert (counts.given, counts.noised) == (7, 0)
    assert counts.reasons["noised-without-room"] == 7


def test_the_seed_decides_the_noise_and_nothing_else(prepared, work, model, tmp_path):
    folder, _ = prepared
    prepare_dpo(work, model, tmp_path / "other", noise=NOISE, seed=1)
    mine, other = (rows_of(one, "given-*.jsonl") for one in (folder, tmp_path / "other"))
    assert mine == other


def test_a_model_that_reads_otherwise_is_refused(recipe, model, tmp_path):
    smaller = load_recipe("pairs.toml", ["model.token_sampler.queries=2"])
    work = work_of(smaller, stage_of(smaller, None), rows_per_file=3)
    with pytest.raises(FrozenModelError, match="makes 4 tokens of a view, the recipe's 2"):
        prepare_dpo(work, model, tmp_path / "other")


def test_a_frozen_model_has_the_weights_of_a_forward_pass_and_exact_frequencies(recipe, model):
    def loaded(*settings: str) -> torch.nn.Module:
        return load_frozen(load_recipe("pairs.toml", settings), model, torch.device("cpu"))

    exact = loaded()
    alike = {"engine.precision": "bf16"}, {"engine.use": "deepspeed", "engine.zero": 0}
    for keys in alike:
        found = loaded(*(f"{name}={value}" for name, value in keys.items()))
        assert {one.dtype for one in found.parameters()} == {torch.float32}
    copies = loaded("engine.use=deepspeed", "engine.zero=1", "engine.precision=bf16")
    for (name, one), (_, other) in zip(
        copies.named_parameters(), exact.named_parameters(), strict=True
    ):
        assert torch.equal(one, other.bfloat16()), name
    frequencies = dict(exact.named_buffers())
    assert any("inv_freq" in name for name in frequencies)
    for name, buffer in copies.named_buffers():
        assert torch.equal(buffer, frequencies[name]), name


def test_the_stage_must_be_clear(recipe):
    with pytest.raises(PrepareError, match=r"no stage is called 'dpp'; did you mean 'dpo'\?"):
        stage_of(recipe, "dpp")
    plain = load_recipe(
        "pairs.toml",
        ['stages.dpo.data.0.learn="preferred"', 'stages.dpo.objectives.0.use="autoregressive"'],
    )
    with pytest.raises(PrepareError, match="no source of the recipe gives pairs that are not"):
        stage_of(plain, None)
