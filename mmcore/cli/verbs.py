"""A group of verbs that are listed without importing any, and whose errors are messages."""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Mapping

import click

from mmcore.cli.errors import exit_code
from mmcore_registry import nearest


class Verbs(click.Group):
    """Verbs that are imported when they are called.

    Args:
        name: of the group.
        verbs: verb to the first line of its help.
        modules: what stands before a verb in the name of its module. The verb ``x`` is the object
            ``command`` of that module; where x is a word of Python, ``_`` is put behind it.
            A hyphen becomes ``_`` as well.
        of_recipe: the verb that is meant where a recipe stands in a verb's place.
        options: of ``click.Group``.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        verbs: Mapping[str, str],
        modules: str,
        of_recipe: str = "",
        **options: object,
    ) -> None:
        super().__init__(name, subcommand_metavar="VERB ...", **options)  # type: ignore[arg-type]
        self.verbs, self._modules, self._of_recipe = verbs, modules, of_recipe

    def module(self, verb: str) -> str:
        """Name of the module that the verb is in."""
        name = f"{self._modules}{verb}".replace("-", "_")
        return f"{name}_" if keyword.iskeyword(verb) else name

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self._of_recipe and args[0].endswith(".toml"):
            args = [self._of_recipe, *args]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            close = nearest(cmd_name, self.verbs)
            hint = f" Did you mean {close!r}?" if close else ""
            ctx.fail(f"No such verb {cmd_name!r}.{hint}")
        command = importlib.import_module(self.module(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(self.verbs.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            code = exit_code(error)
            if code is None:
                raise
            raise click.exceptions.Exit(code) from error
