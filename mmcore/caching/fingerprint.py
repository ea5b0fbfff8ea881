"""Tells encoders apart by the values of their parameters."""

from __future__ import annotations

import hashlib

from mmcore.kit.tensor_file import raw
from mmcore.model.initial import Initial

DIGEST_BYTES = 16


def encoder_fingerprint(initial: Initial) -> str:
    """The same for equal values only, wherever they came from: a seed, published weights, or a
    checkpoint. Values are made one by one, and those of other parts not at all.

    Args:
        initial: before an engine has filled it.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, make in sorted(initial.values(), key=lambda one: one[0]):
        part, _, own = name.partition(".")
        if part == "encoder":
            value = make()
            digest.update(f"{own} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(raw(value))
    return digest.hexdigest()
