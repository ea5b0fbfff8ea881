"""The folders, the wheel and the entry points agree; file sizes and captions keep to the house."""

import ast
import tomllib
from importlib.metadata import entry_points

import pytest

from mmcore_registry import discover


@pytest.fixture
def root(request):
    return request.config.rootpath


@pytest.fixture
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())


def plugin_folders(root):
    return sorted(folder.name for folder in (root / "plugins").iterdir() if folder.is_dir())


def test_every_plugin_folder_is_in_the_wheel_and_has_an_entry_point(root, project):
    folders = plugin_folders(root)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    announced = project["project"]["entry-points"]["mmcore"].values()
    assert (
        sorted(name.removeprefix("plugins/") for name in packages if "plugins/" in name) == folders
    )
    assert sorted(target.partition(".")[0] for target in announced) == folders


def test_every_plugin_is_held_by_the_import_rules(root, project):
    contracts = {one["name"]: one for one in project["tool"]["importlinter"]["contracts"]}
    folders = plugin_folders(root)
    assert sorted(contracts["No plugin imports another"]["modules"]) == folders
    assert (
        contracts["Nothing in mmcore imports a plugin"]["forbidden_modules"]
        == (contracts["No plugin imports another"]["modules"])
    )


def test_our_own_plugins_load():
    ours = [one for one in discover().plugins() if one.distribution == "mmcore"]
    assert [one for one in ours if one.status != "loaded"] == []
    assert {one.name for one in ours} <= set(entry_points(group="mmcore").names)


def sources(root):
    for folder in ("mmcore", "registry", "plugins"):
        yield from sorted((root / folder).rglob("*.py"))


def test_every_file_opens_with_its_caption(root):
    bare = [
        str(path.relative_to(root))
        for path in sources(root)
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert bare == []


def test_no_file_holds_more_than_one_idea(root):
    long = {str(p): n for p in sources(root) if (n := len(p.read_text().splitlines())) > 500}
    assert long == {}


def test_typed_packages_say_so(root):
    packages = [root / "mmcore", root / "registry/mmcore_registry"]
    packages += [folder for folder in (root / "plugins").iterdir() if folder.is_dir()]
    assert [p.name for p in packages if not (p / "py.typed").exists()] == []


def test_only_the_agreed_names_stand_at_the_root(root):
    packages = {path.parent.name for path in root.glob("*/__init__.py")}
    assert packages == {"mmcore"}
