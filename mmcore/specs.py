"""A component's spec by registry name, for those who write Python instead of recipes."""

from __future__ import annotations

from mmcore_registry import Spec, discover


def spec(kind: str, use: str, **keys: object) -> Spec:
    """A validated spec, as a recipe's table would make it.

    Args:
        kind: such as ``token_sampler``.
        use: the component's name, or ``distribution:name``.
        keys: the keys of its table.

    Raises:
        RegistryError: there is no such component.
        ValueError: a key's value is refused.
        TypeError: there is no such key, or a key without default is missing.
    """
    return discover().get(kind, use)(**keys)
