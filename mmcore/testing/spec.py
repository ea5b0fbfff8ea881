"""What every spec promises, whatever its kind."""

from __future__ import annotations

import inspect

import attrs

from mmcore_registry import API, Spec


def check_spec(spec: Spec) -> None:
    """The spec is frozen, named, documented down to its keys, and has no fault to report.

    Raises:
        AssertionError: what is broken, by name.
    """
    label = type(spec).__qualname__
    assert spec.kind, f"{label} has no kind"
    assert spec.name, f"{label} has no name"
    assert spec.api == API, f"{label} is written for api {spec.api}, this mmcore speaks {API}"
    assert inspect.getdoc(type(spec)), f"{label} has no docstring"
    undocumented = [
        field.name for field in attrs.fields(type(spec)) if not field.metadata.get("doc")
    ]
    assert not undocumented, f"{label}: keys without metadata=doc(...): {undocumented}"
    first = attrs.fields(type(spec))[0].name if attrs.fields(type(spec)) else None
    if first is not None:
        try:
            setattr(spec, first, getattr(spec, first))
        except attrs.exceptions.FrozenInstanceError:
            pass
        else:
            raise AssertionError(f"{label} is not frozen")
    problems = list(spec.problems())
    assert not problems, f"{label} reports {problems}"
