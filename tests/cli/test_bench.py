"""`mmcore bench RECIPE`: the table, and the same for programs."""

import json


def test_the_verb_prints_a_table_and_json(mmcore, request):
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
    done = mmcore(*words[:2], "--stage", "answer")
    assert done.exit_code == 2
    assert "no stage 'answer'" in done.stderr
    assert mmcore(*words, "--data", "--json").exit_code == 2
