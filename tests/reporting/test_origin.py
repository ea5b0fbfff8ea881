"""What a page says of the file that made its sweep: no path of the machine, and it runs again."""

import tomllib

import pytest

from mmcore.reporting.sweep.origin import Origin, origin

FILE = 'name = "s"\nquestion = "Which?"\nset = []\nrecipe = "{}"\n[scales]\n'


@pytest.mark.parametrize(
    ("recipe", "shown"),
    [
        ("../../recipes/one.toml", "recipes/one.toml"),  # as seen from where the sweep was started
        ("../../../elsewhere/recipes/one.toml", "recipes/one.toml"),  # from its repository's root
        ("../../../../one.toml", "one.toml"),  # of its place nothing can be said
        ("/somebody/at/home/one.toml", "one.toml"),
    ],
)
def test_a_recipe_is_seen_from_where_it_can_be_found_again(tmp_path, recipe, shown):
    (tmp_path / "elsewhere" / ".git").mkdir(parents=True)
    folder = tmp_path / "start" / "sweeps" / "s"
    found = origin(folder, FILE.format(recipe))
    assert found.question == "Which?"
    assert tomllib.loads(found.file) == {"name": "s", "question": "Which?", "recipe": shown}


def test_a_file_without_a_question_or_that_cannot_be_read_is_shown_as_it_is(tmp_path):
    assert origin(tmp_path, "") == Origin()
    assert origin(tmp_path, 'name = "s"') == Origin(file='name = "s"\n')
    assert origin(tmp_path, "name = ") == Origin(file="name = ")
