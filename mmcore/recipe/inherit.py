"""Read a recipe and the recipes that it extends into one tree that remembers who wrote what."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from mmcore.recipe.errors import Fault, RecipeError
from mmcore.recipe.merge import merge
from mmcore.recipe.positions import line_numbers
from mmcore.recipe.schema import RECIPE_DEFAULTS
from mmcore.recipe.tree import Node, Place, grow
from mmcore_registry import nearest

_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def read(path: str | os.PathLike[str]) -> Node:
    """The recipe at ``path`` laid over its parents, and these over mmcore's defaults.

    ``extends`` is a path relative to the file that says so.

    Raises:
        RecipeError: a file is missing, is no TOML, or extends itself in a circle.
    """
    defaults = grow(RECIPE_DEFAULTS, Place("defaults of mmcore"), {})
    return merge(defaults, _read_chain(Path(path), asked_by=None, above=()))


def _read_chain(path: Path, *, asked_by: Place | None, above: tuple[Path, ...]) -> Node:
    """``path`` over its parents; ``above`` are the files that led here, resolved."""
    resolved = path.resolve()
    if resolved in above:
        circle = " -> ".join(one.name for one in (*above[above.index(resolved) :], resolved))
        assert asked_by is not None
        raise _error(asked_by, "extends", f"the recipes extend each other in a circle: {circle}")
    root = read_toml(path, asked_by=asked_by)
    assert isinstance(root.value, dict)
    extends = root.value.pop("extends", None)
    if extends is None:
        return root
    if not isinstance(extends.value, str):
        raise _error(extends.place, "extends", "wanted a string: the path of another recipe")
    parent = Path(os.path.normpath(path.parent / extends.value))
    return merge(_read_chain(parent, asked_by=extends.place, above=(*above, resolved)), root)


def read_toml(path: Path, *, asked_by: Place | None = None) -> Node:
    """One TOML file, with places; ``asked_by`` is the line that named it, for the message.

    Raises:
        RecipeError: the file cannot be read, or is no TOML.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if asked_by is None:
            raise _error(Place(str(path)), "", reason, _similar(path)) from None
        message = f"cannot read {str(path)!r}: {reason}"
        raise _error(asked_by, "extends", message, _similar(path)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"byte {error.object[error.start]:#04x} is not UTF-8, which TOML is written in"
        raise _error(Place(str(path), line), "", message) from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, text, str(error)) from None
    places = {key: Place(str(path), line) for key, line in line_numbers(text).items()}
    return grow(values, Place(str(path), 1), places)


def _syntax_error(path: Path, text: str, message: str) -> RecipeError:
    where = _WHERE.search(message)
    last = len(text.splitlines()) or 1
    line = int(where.group(1)) if where and where.group(1) else last
    return _error(Place(str(path), line), "", f"no valid TOML: {_WHERE.sub('', message)}")


def _error(place: Place, key: str, message: str, hint: str = "") -> RecipeError:
    return RecipeError([Fault(place.file, place.line, key, message, hint)])


def _similar(path: Path) -> str:
    """A hint that names the recipe that was probably meant."""
    if path.exists() or not path.parent.is_dir():
        return ""
    close = nearest(path.stem, [file.stem for file in path.parent.glob("*.toml")])
    return f"did you mean {str(path.with_name(f'{close}.toml'))!r}?" if close else ""
