"""What users do wrong gets one clear message, and nothing is lost."""

import json


def test_a_run_folder_of_another_recipe_is_refused(workplace):
    workplace.mmcore("run", "mini.toml", "--stage", "captions")
    before = workplace.losses()
    output = workplace.mmcore(
        "run", "mini.toml", "--set", "stages.captions.optimizer.lr=0.5", fails=True
    )
    assert "made for another recipe" in output
    assert "stages.0.optimizer.lr: 0.001 -> 0.5" in output
    assert workplace.losses() == before


def test_never_starts_anew_and_keeps_the_old_run(workplace):
    workplace.mmcore("run", "mini.toml", "--stage", "captions")
    workplace.mmcore("run", "mini.toml", "--stage", "captions", "--resume", "never")
    assert (workplace.folder / "runs" / "mini.old-1" / "metrics.jsonl").exists()
    assert len(workplace.losses()) == 6


def test_unknown_names_are_refused_with_the_nearest(workplace):
    output = workplace.mmcore(
        "run", "mini.toml", "--set", "model.token_sampler.use=percever", fails=True
    )
    assert "did you mean 'perceiver'?" in output
    output = workplace.mmcore("run", "mini.toml", "--set", "stages.caption.steps=3", fails=True)
    assert "did you mean 'captions'?" in output
    output = workplace.mmcore("run", "mini.toml", "--stage", "caption", fails=True)
    assert "did you mean 'captions'?" in output


def test_xformers_on_a_cpu_is_refused(workplace):
    output = workplace.mmcore("run", "mini.toml", "--set", "model.attention=xformers", fails=True)
    assert "xformers" in output
    assert "sdpa" in output


def test_generate_needs_a_trained_run_and_a_picture(workplace):
    assert "no run folder" in workplace.mmcore("generate", "nowhere", "Why?", fails=True)
    workplace.mmcore("run", "mini.toml", "--stage", "captions")
    output = workplace.mmcore("generate", "runs/mini", "--image", "no.png", "Why?", fails=True)
    assert "no.png" in output
    (workplace.folder / "bad.png").write_bytes(b"<html>")
    for option, value, message in [
        ("--temperature", "nan", "temperature is nan, wanted a finite number, 0 or above"),
        ("--temperature", "-1", "temperature is -1.0"),
        ("--top-p", "0", "top_p is 0.0, wanted above 0 and at most 1"),
        ("--max-new-tokens", "0", "0 is not in the range x>=1"),
        ("--device", "foo", "device 'foo' cannot be used here"),
    ]:
        asked = ("generate", "runs/mini", option, value, "Why?")
        assert message in workplace.mmcore(*asked, fails=True)
    output = workplace.mmcore("generate", "runs/mini", "--image", "bad.png", "Why?", fails=True)
    assert "this question cannot be shown to the model: " in output
    assert "bad.png" in output


def test_an_empty_dataset_is_named(workplace):
    folder = workplace.folder / "data" / "empty"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text("[]")
    output = workplace.mmcore(
        "run", "mini.toml",
        "--set", "stages.captions.data=[{use='llava-json', path='data/empty/*.json'}]",
        fails=True,
    )  # fmt: skip
    assert "llava-json" in output
    assert "no rows" in output


def test_bad_rows_are_counted_and_written_down_and_the_run_goes_on(workplace):
    workplace.mmcore("run", "mini.toml")
    shard = sorted((workplace.folder / "data" / "answers").glob("part-*.json"))[0]
    rows = json.loads(shard.read_text())
    rows[0]["image"] = "pictures/gone.png"
    rows[1]["image"] = "../../outside.png"
    rows[2]["conversations"] = []
    shard.write_text(json.dumps(rows))
    workplace.mmcore(
        "run", "mini.toml", "--set", "name=bad", "--set", "data.max_rejected_share=0.5",
        "--set", "stages.answers.steps=20",
    )  # fmt: skip
    lines = (workplace.folder / "runs" / "bad" / "rejected.jsonl").read_text().splitlines()
    reasons = {json.loads(line)["reason"] for line in lines}
    assert reasons == {"image-missing", "image-outside-root", "empty-conversation"}


def test_too_many_bad_rows_stop_the_run(workplace):
    workplace.mmcore("run", "mini.toml")
    pictures = sorted((workplace.folder / "data" / "answers" / "pictures").glob("*.png"))
    for picture in pictures[::3]:
        picture.write_bytes(b"<html>404</html>")
    output = workplace.mmcore(
        "run", "mini.toml", "--set", "name=bad", "--set", "stages.answers.steps=200", fails=True
    )
    assert "max_rejected_share" in output
    assert "image-unreadable" in output
