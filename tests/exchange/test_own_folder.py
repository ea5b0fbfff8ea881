"""A run goes out as a model folder, and the folder is as good as the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import mmcore
from mmcore import assemble
from mmcore.exchange import export_model, open_stored
from mmcore.interfaces import WeightsError
from mmcore.recipe import RecipeError

QUESTION = "What does it say?"


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    with open_stored(folder) as stored:
        return {name: stored.tensors.read(name) for name in stored.tensors.names()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_the_folder_has_the_tensors_of_the_newest_checkpoint(trained, model_folder):
    assert same(tensors_of(model_folder), tensors_of(trained))


def test_its_description_names_nothing_outside_itself(model_folder, home):
    text = (model_folder / "model.toml").read_text()
    assert 'weights = "./encoder"' in text
    assert str(home) not in text
    assert str(model_folder) not in text


def test_a_folder_that_was_moved_answers_as_the_run_does(trained, model_folder, tmp_path, home):
    moved = tmp_path / "elsewhere" / "mine"
    shutil.copytree(model_folder, moved)
    asked = [
        {
            "role": "user",
            "content": [
                {"type": "image", "path": str(home / "a.png")},
                {"type": "text", "text": QUESTION},
            ],
        }
    ]
    answers = [
        mmcore.load(folder, device="cpu").generate(asked, max_new_tokens=12)
        for folder in (trained, moved)
    ]
    assert answers[0] == answers[1] != ""


def test_generate_takes_the_folder(model_folder, trained, home, typed):
    words = (QUESTION, "--image", home / "a.png", "--max-new-tokens", 8, "--device", "cpu")
    assert typed("generate", model_folder, *words) == typed("generate", trained, *words)


def test_a_recipe_goes_on_from_the_parts_of_the_folder(model_folder, home):
    weights = [
        f"model.{part}.weights={json.dumps(str(model_folder / part))}"
        for part in ("encoder", "token_sampler", "llm")
    ]
    # With weights, Phi-3's own number of rows is the default; the folder's is in its model.toml.
    recipe = mmcore.load_recipe(home / "little.toml", [*weights, "model.llm.vocabulary=768"])
    model, reports = assemble.build_model(recipe, torch.device("cpu"))
    assert same(dict(model.named_parameters()), tensors_of(model_folder))
    for part, report in reports.items():
        assert report.origin == str(model_folder / part)
        assert report.unused == ()


def test_a_folder_is_exported_again_as_it_is(model_folder, tmp_path):
    receipt = export_model(model_folder, tmp_path / "again", "mmcore")
    assert receipt.largest_difference == 0.0
    for file in sorted(model_folder.rglob("*")):
        if file.is_file() and file.name != "receipt.json":
            again = tmp_path / "again" / file.relative_to(model_folder)
            assert again.read_bytes() == file.read_bytes(), file


def test_the_verb_prints_what_was_done_and_leaves_a_receipt(trained, tmp_path, typed):
    output = typed("export", trained, tmp_path / "out")
    assert "token ids the same, logits differ by at most 0" in output
    receipt = json.loads((tmp_path / "out" / "receipt.json").read_text())
    assert receipt["verb"] == "export"
    assert receipt["fixed_inputs"]["before"] == receipt["fixed_inputs"]["after"]


def test_nothing_is_written_over(trained, tmp_path, typed):
    (tmp_path / "out").write_text("mine")
    assert "is there already" in typed("export", trained, tmp_path / "out", fails=True)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_unknown_format_is_refused_with_those_that_there_are(trained, tmp_path, typed):
    output = typed("export", trained, tmp_path / "out", "--format", "xgenmm", fails=True)
    assert "xgen-mm" in output
    assert not (tmp_path / "out").exists()


def test_what_is_interrupted_leaves_nothing(trained, tmp_path):
    def interrupt(done: int, total: int) -> None:
        assert 0 < done <= total
        raise KeyboardInterrupt

    for name in ("mmcore", "xgen-mm"):
        with pytest.raises(KeyboardInterrupt):
            export_model(trained, tmp_path / "out", name, on_progress=interrupt)
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_neither_run_nor_model_is_refused(tmp_path, typed):
    (tmp_path / "photos").mkdir()
    output = typed("export", tmp_path / "photos", tmp_path / "out", fails=True)
    assert "is no run folder and no model folder" in output


def test_a_run_without_a_checkpoint_is_refused(trained, tmp_path, typed):
    (tmp_path / "run").mkdir()
    shutil.copy(trained / "recipe.toml", tmp_path / "run")
    assert "no checkpoint yet" in typed("export", tmp_path / "run", tmp_path / "out", fails=True)


def test_tensors_that_do_not_fit_the_description_are_all_named(model_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model_folder, broken)
    text = (broken / "model.toml").read_text()
    (broken / "model.toml").write_text(text.replace("queries = 3", "queries = 5"))
    shutil.rmtree(broken / "encoder")
    shutil.copytree(broken / "token_sampler", broken / "encoder")
    with pytest.raises(WeightsError) as caught:
        mmcore.load(broken, device="cpu")
    message = str(caught.value)
    assert "missing: encoder.trunk.norm.weight" in message
    assert "no place for: encoder.latents" in message


def test_a_description_with_faults_is_refused_with_their_lines(model_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model_folder, broken)
    text = (broken / "model.toml").read_text()
    changed = text.replace("queries = 3", 'queries = "3"').replace("layers = 2", "layer = 2")
    (broken / "model.toml").write_text(changed.replace("format = 1", "format = 9", 1))
    with pytest.raises(RecipeError) as caught:
        mmcore.load(broken, device="cpu")
    message = str(caught.value)
    assert "queries" in message
    assert "'layers'" in message or "layers" in message
    assert "format is 9, this mmcore reads format 1" in message
