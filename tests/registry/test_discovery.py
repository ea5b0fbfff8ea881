"""Plugins by entry points: none can break another, and each that fails says why."""

import json
import os
import subprocess
import sys

import pytest

from mmcore_registry import API, BLOCK_VARIABLE
from mmcore_registry.discovery import load

GOOD = '''
from typing import ClassVar
import attrs
from mmcore_registry import Spec, hookimpl

@attrs.frozen(kw_only=True)
class Strange(Spec):
    """A stranger's tracker."""
    kind: ClassVar[str] = "tracker"
    name: ClassVar[str] = "{name}"
    api: ClassVar[int] = {api}

@hookimpl
def mmcore_components():
    return [Strange]
'''


@pytest.fixture
def good(install):
    def good(module, *, name="strange", api=API, **kwargs):
        install(module, GOOD.format(name=name, api=api), **kwargs)

    return good


def only(registry):
    (plugin,) = registry.plugins()
    return plugin


def test_loaded(good, install):
    good("strange_one")
    registry = load(install.entries(), set())
    plugin = only(registry)
    assert (plugin.name, plugin.distribution, plugin.version) == ("strange_one", "strangers", "1.2")
    assert (plugin.status, plugin.reason) == ("loaded", "")
    assert registry.get("tracker", "strangers:strange").name == "strange"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def (", "SyntaxError"),
        ("raise RuntimeError('needs a license')", "RuntimeError: needs a license"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("", "announces no components"),
        (
            "from mmcore_registry import hookimpl\n@hookimpl\ndef mmcore_component(): return []",
            "unknown hook 'mmcore_component'",
        ),
        (
            "from mmcore_registry import hookimpl\n@hookimpl\ndef mmcore_components(): return [3]",
            "3 is no subclass of mmcore_registry.Spec",
        ),
    ],
)
def test_broken_disturbs_nobody(install, good, code, reason):
    install("broken_one", code, distribution="broken-dist")
    good("strange_two")
    registry = load(install.entries(), set())
    broken, fine = registry.plugins()
    assert (broken.name, broken.distribution, broken.status) == (
        "broken_one",
        "broken-dist",
        "broken",
    )
    assert reason in broken.reason
    assert fine.status == "loaded"
    assert registry.names("tracker") == ["strange"]


def test_another_api(install, good):
    good("strange_future", api=API + 1)
    plugin = only(load(install.entries(), set()))
    assert plugin.status == "broken"
    assert f"api {API + 1}, this mmcore speaks api {API}" in plugin.reason


def test_blocked_is_not_imported(install):
    install("blocked_one", "raise AssertionError('imported')")
    plugin = only(load(install.entries(), {"blocked_one"}))
    assert (plugin.status, plugin.reason) == ("blocked", f"named in {BLOCK_VARIABLE}")


def test_this_process(good, install):
    """In a fresh interpreter: strangers beside our own plugins, and the variable that blocks."""
    good("strange_here")
    program = (
        "import json, mmcore_registry as r;"
        "print(json.dumps({p.name: p.status for p in r.discover().plugins()}))"
    )
    env = {**os.environ, "PYTHONPATH": str(install.folder), BLOCK_VARIABLE: " siglip, phi3,"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    status = json.loads(done.stdout)
    assert status["strange_here"] == "loaded"
    assert (status["siglip"], status["phi3"]) == ("blocked", "blocked")
    assert status["samplers"] == "loaded"
