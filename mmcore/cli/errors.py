"""Errors that speak to users become a message and an exit code; the others are bugs, and show."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mmcore.recipe import Fault, RecipeError

TRACEBACK_VARIABLE = "MMCORE_TRACEBACK"
"""Set to anything, every error comes with its traceback."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk, or of a user's share of it, that has no room left."""

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


def exit_code(error: BaseException) -> int | None:
    """Print the error's message to stderr; None if it is nothing that a user could have caused.

    By the rule of the house a ``ValueError`` speaks to users and an ``AssertionError`` to
    programmers. A run that had to stop raises an error class of ours, and files raise ``OSError``.
    """
    if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
        return None
    if isinstance(error, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError) or os.environ.get(TRACEBACK_VARIABLE):
        return None
    if "mmcore.recipe" in sys.modules:
        from mmcore.recipe import RecipeError

        if isinstance(error, RecipeError):
            print_faults(error)
            return 1
    if _speaks_to_users(error):
        click.echo(f"{click.style('error:', fg='red')} {_sentence(error)}", err=True)
        return 1
    return None


def print_faults(error: RecipeError) -> None:
    """One line per fault, a count, and what can be done, to stderr; coloured on a terminal."""
    for fault in error.faults:
        click.echo(coloured(fault), err=True)
    click.echo(click.style(error.count, bold=True), err=True)
    if error.advice:
        click.echo(error.advice, err=True)


def coloured(fault: Fault) -> str:
    """The words of ``str(fault)``, with the place, the key and the hint set apart."""
    key = f"{click.style(fault.key, fg='cyan')}: " if fault.key else ""
    hint = f"; {click.style(fault.hint, fg='green')}" if fault.hint else ""
    return f"{click.style(fault.place, bold=True)}: {key}{fault.message}{hint}"


def _speaks_to_users(error: BaseException) -> bool:
    if isinstance(error, ValueError | OSError):
        return True
    package = type(error).__module__.partition(".")[0]
    return package == "mmcore" or package.startswith("mmcore_")


def _sentence(error: BaseException) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error) or type(error).__name__
    place = "" if error.filename is None else f"{error.filename}: "
    advice = "; make room, then run the same command again" if error.errno in FULL else ""
    return f"{place}{error.strerror}{advice}"
