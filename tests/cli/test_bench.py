"""`mmcore bench RECIPE`: the table, and the same for programs."""

import json


def test_the_verb_prints_a_table_and_json(mmcore, request, tmp_path):
    recipe = request.config.rootpath / "tests" / "end_to_end" / "mini.toml"
    words = ["bench", str(recipe), "--stage", "answers", "--steps", "1", "--rounds", "1"]
    done = mmcore(*words, "--baseline", "padded")
    assert done.exit_code == 0, done.output
    assert "stage answers, workload made up" in done.stdout
    assert "packed is" in done.stdout
    done = mmcore(*words, "--json")
    [stage] = json.loads(done.stdout)
    assert stage["ways"]["packed"]["tokens_per_second"] > 0
    assert "padded" not in stage["ways"]
    (tmp_path / "pace.json").write_text(done.stdout)
    words_of_scaling = ["bench", "scaling", str(recipe), str(tmp_path / "pace.json")]
    told = mmcore(*words_of_scaling, "--gpus", "4", "--gpus", "8")
    assert told.exit_code == 0, told.output
    assert "stage answers, a simulation" in told.stdout
    [table] = json.loads(mmcore(*words_of_scaling, "--gpus", "4", "--gpus", "8", "--json").stdout)
    assert [one["gpus"] for one in table["gpus"]] == [4], "the stage has 4 packs a step"
    assert 0 < table["gpus"][0]["efficiency"] <= 1
    for impossible in ("--inside", "--between", "--mfu"):
        refused = mmcore(*words_of_scaling, impossible, "0")
        assert refused.exit_code == 2, impossible
        assert f"Invalid value for '{impossible}'" in refused.stderr
    done = mmcore(*words[:2], "--stage", "answer")
    assert done.exit_code == 2
    assert "no stage 'answer'" in done.stderr
    assert mmcore(*words, "--data", "--json").exit_code == 2
