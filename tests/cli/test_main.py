"""The group of verbs: help without imports, and errors as messages with exit codes."""

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import time

import click
import pytest

from mmcore import __version__
from mmcore.cli import verbs as verbs_module
from mmcore.cli.errors import TRACEBACK_VARIABLE
from mmcore.cli.main import VERBS, main
from mmcore.cli.verbs import Verbs
from mmcore.interfaces import WeightsError


@pytest.fixture
def verb(monkeypatch):
    """Let the verb `list` do something else."""

    def verb(action):
        monkeypatch.setattr("mmcore.cli.list.command", click.Command("list", callback=action))

    return verb


def raising(error):
    def action():
        raise error

    return action


def test_help_lists_every_verb_and_imports_none(mmcore, monkeypatch):
    monkeypatch.setattr(verbs_module.importlib, "import_module", lambda name: pytest.fail(name))
    done = mmcore("--help")
    assert done.exit_code == 0
    for verb in VERBS:
        assert f"  {verb} " in done.stdout


def verbs_of(group):
    """Every verb of a group and of the groups in it, under the group that has it."""
    for verb in group.verbs:
        command = importlib.import_module(group.module(verb)).command
        yield group, verb, command
        if isinstance(command, Verbs):
            yield from verbs_of(command)


@pytest.mark.parametrize(("group", "verb", "command"), list(verbs_of(main)))
def test_one_liners_are_those_of_the_verbs(group, verb, command):
    assert command.help.splitlines()[0] == group.verbs[verb]


def test_a_recipe_in_the_place_of_a_verb_of_bench_means_its_steps(mmcore):
    done = mmcore("bench", "no.toml", "--steps", "x")
    assert "Usage: main bench steps" in done.stderr
    assert "'x' is not a valid integer" in done.stderr
    assert "No such verb 'stpes'. Did you mean 'steps'?" in mmcore("bench", "stpes").stderr


def test_version(mmcore):
    assert mmcore("--version").stdout == f"mmcore, version {__version__}\n"


def test_unknown_verb(mmcore):
    done = mmcore("chekc")
    assert done.exit_code == 2
    assert "No such verb 'chekc'. Did you mean 'check'?" in done.stderr


class StrangersError(WeightsError):
    """An error class of a plugin, derived from one of ours."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (WeightsError("no tensor x"), "error: no tensor x\n"),
        (StrangersError("bad file"), "error: bad file\n"),
        (FileNotFoundError(2, "No such file or directory", "a b"), "error: a b: No such file or"),
        (FileNotFoundError("no shard matches 'x/*'"), "error: no shard matches 'x/*'\n"),
        (OSError("torn"), "error: torn\n"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "error: No space left on device; make room, then run the same command again\n",
        ),
    ],
)
def test_what_a_user_can_cause_is_a_message(mmcore, verb, error, message):
    verb(raising(error))
    done = mmcore("list")
    assert done.exit_code == 1
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_a_bug_shows_its_traceback(mmcore, verb, monkeypatch):
    verb(raising(ZeroDivisionError("bug")))
    with pytest.raises(ZeroDivisionError):
        mmcore("list")
    verb(raising(WeightsError("no tensor x")))
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    with pytest.raises(WeightsError):
        mmcore("list")


def test_exit_codes_of_a_verb_stay(mmcore, verb):
    verb(raising(click.UsageError("wrong words")))
    assert mmcore("list").exit_code == 2
    verb(raising(click.exceptions.Exit(7)))
    assert mmcore("list").exit_code == 7


def test_interrupt(mmcore, verb):
    verb(raising(KeyboardInterrupt()))
    done = mmcore("list")
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


def test_interrupt_by_a_signal():
    program = (
        "import time, click, mmcore.cli.list as verb\n"
        "from mmcore.cli.main import main\n"
        "def wait():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "verb.command = click.Command('list', callback=wait)\n"
        "main(['list'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, "interrupted\n")


def test_a_closed_pipe_is_silent():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", "from mmcore.cli.main import main; main(['list'])"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


HEAVY = ["torch", "transformers", "timm", "torchvision", "deepspeed", "xformers", "numpy", "PIL"]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list"],
        ["plugins", "--json"],
        ["show", "perceiver"],
        ["show", "recipe"],
        ["show", "small.toml"],
        ["check", "small.toml"],
        ["check", "nowhere.toml"],
    ],
    ids=" ".join,
)
def test_light_verbs_import_nothing_heavy(words, recipe):
    recipe()
    program = (
        "import json, sys\n"
        "from mmcore.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        f"    print(json.dumps([n for n in {HEAVY} if n in sys.modules]), file=sys.stderr)\n"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    print(f"{' '.join(words)}: {time.perf_counter() - started:.2f} s")
    assert done.returncode == (1 if "nowhere.toml" in words else 0), done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []
