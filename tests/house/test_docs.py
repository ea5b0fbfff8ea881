"""The manual is fenced by the code: every verb, hook, contract and recipe key is where it says."""

import re
import tomllib

import pytest

import mmcore
from mmcore.cli.main import VERBS
from mmcore.evaluation import records
from mmcore.interfaces import METRICS
from mmcore.run_folder import incident_log, rejected_log, rollbacks, validation_log
from mmcore.run_folder.folder import CHECKPOINTS, ENVIRONMENT, FREE_TO_CHANGE, RECIPE, STAGE_FILE
from mmcore.training import profiling, stalls
from mmcore.training.hooks import RunHooks
from mmcore_registry import discover


@pytest.fixture
def root(request):
    return request.config.rootpath


def test_every_verb_is_in_the_readme(root):
    text = (root / "README.md").read_text()
    assert [verb for verb in VERBS if f"`mmcore {verb}" not in text] == []


def test_every_run_hook_is_in_the_manual(root):
    text = (root / "docs" / "writing-a-plugin.md").read_text()
    hooks = [name for name in vars(RunHooks) if name.startswith("mmcore_")]
    assert [name for name in hooks if name not in text] == []


def test_every_kind_is_in_the_manual(root):
    text = (root / "docs" / "writing-a-plugin.md").read_text()
    assert [kind for kind in discover().kinds() if f"| `{kind}` |" not in text] == []


def test_every_file_of_a_run_folder_is_in_the_manual(root):
    text = (root / "docs" / "recipes.md").read_text()
    files = [
        RECIPE, ENVIRONMENT, METRICS, rejected_log.FILE, incident_log.FILE, rollbacks.FILE,
        validation_log.FILE, records.FILE, f"{records.ANSWERS}/", f"{stalls.FOLDER}/",
        f"{profiling.FOLDER}/", f"{CHECKPOINTS}/", STAGE_FILE.format("STAGE"),
    ]  # fmt: skip
    assert [name for name in files if f"`{name}`" not in text] == []


def test_every_key_that_may_change_is_in_the_manual(root):
    text = (root / "docs" / "troubleshooting.md").read_text()
    told = text[text.index("Keys that may change") :]
    assert [key for key in FREE_TO_CHANGE if f"`{key}`" not in told] == []


def test_links_in_the_manual_lead_somewhere(root):
    pages = [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if not target.startswith("http") and not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_key_of_a_recipe_has_a_comment_over_it_where_it_first_appears(root):
    for recipe in (root / "recipes").glob("*.toml"):
        lines = recipe.read_text().splitlines()
        tomllib.loads(recipe.read_text())
        commented = [number for number, line in enumerate(lines) if line.startswith("#")]
        assert len(commented) > len(lines) / 5, f"{recipe.name} has too few comments"


def test_tables_of_the_page_about_data_are_sound(root):
    page = (root / "docs" / "data.md").read_text()
    tables = [
        table
        for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
        for stages in tomllib.loads(block).get("stages", {}).values()
        for table in stages
    ]
    assert len({table["use"] for table in tables}) >= 6
    for table in tables:
        spec = mmcore.spec("source", **table)
        assert [one for one in spec.problems() if not one.machine] == []


def test_example_of_the_plugin_page_is_the_package_that_is_tested(root):
    page = (root / "docs" / "writing-a-plugin.md").read_text()
    spec = (root / "tests/third_party/clsvit/clsvit/spec.py").read_text()
    for line in ('name = "clsvit"', "class ClsVitSpec(EncoderSpec):", "width=16, layers=1"):
        assert line in page
        assert line in spec
