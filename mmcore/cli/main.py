"""The command `mmcore`: which verbs there are, without importing any before it is called."""

from __future__ import annotations

import importlib
import keyword

import click

from mmcore import __version__
from mmcore.cli.errors import exit_code
from mmcore_registry import nearest

VERBS = {
    "run": "Train what RECIPE describes; the results go to runs/NAME.",
    "fetch": "Bring the weights and tokenizers of RECIPE from the hub, and pin them.",
    "generate": "Ask the model of the folder RUN a QUESTION, and print its answer.",
    "check": "Find what is wrong with a recipe before anything is loaded.",
    "plan": "Say what a recipe costs: parameters, memory, FLOPs, steps and hours.",
    "list": "List the components that the installed plugins provide.",
    "show": "Show the keys of a component, or a recipe with every default filled in.",
    "plugins": "List the plugins, also those that could not be loaded, and why.",
    "import": "Make the model folder OUT of the checkpoint at PATH, and a receipt of it all.",
    "export": "Write the model of RUN (a run folder or a model folder) to the new folder OUT.",
    "bench": "Measure the light verbs and, given a RECIPE, what it reaches on this machine.",
}
"""Verb to the first line of its help. The verb `x` is the object `command` of mmcore.cli.x; where x
is a word of Python, of mmcore.cli.x_."""


class Verbs(click.Group):
    """A group whose verbs are imported when they are called, and whose errors are messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            close = nearest(cmd_name, VERBS)
            hint = f" Did you mean {close!r}?" if close else ""
            ctx.fail(f"No such verb {cmd_name!r}.{hint}")
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command = importlib.import_module(f"mmcore.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            code = exit_code(error)
            if code is None:
                raise
            raise click.exceptions.Exit(code) from error


@click.command(
    cls=Verbs,
    subcommand_metavar="VERB ...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="mmcore")
def main() -> None:
    """Train vision-language models that are composed, part by part, in a TOML recipe."""
