"""What can go wrong when a component is asked for by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that a person most likely meant by ``word``, or None if none is close."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return close[0] if close else None


class RegistryError(ValueError):
    """A component cannot be had; the message says which, why, and what could be meant."""


class UnknownComponent(RegistryError):
    """No plugin announces a component of this kind and name."""

    def __init__(self, kind: str, name: str, known: Sequence[str], remark: str = "") -> None:
        self.kind, self.wanted, self.known = kind, name, tuple(known)
        self.suggestion = nearest(name.rpartition(":")[2], known)
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        listing = ", ".join(known) or "none"
        super().__init__(f"no {kind} is called {name!r}{hint} (known: {listing}){remark}")


class AmbiguousComponent(RegistryError):
    """Two distributions announce the same kind and name, and the recipe did not say whose."""

    def __init__(self, kind: str, name: str, distributions: Sequence[str]) -> None:
        self.kind, self.wanted, self.distributions = kind, name, tuple(distributions)
        owners = " and ".join(distributions)
        ways = " or ".join(f'use = "{owner}:{name}"' for owner in distributions)
        super().__init__(f"{kind} {name!r} is announced by {owners}; write {ways}")


class ApiMismatch(RegistryError):
    """A component was written for another version of the component interface."""

    def __init__(self, component: str, wanted: int, had: int) -> None:
        super().__init__(
            f"{component} is written for component api {wanted}, this mmcore speaks api {had}"
        )
