"""The links of a part's rows as a list of distinct web addresses, and which slot wants which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import pyarrow as pa

UNUSABLE: Final = -1
"""Stands for a link that is no web address."""

LONGEST: Final = 8192
"""Bytes of a link; servers refuse longer ones."""

_KEPT = "!#$%&'()*+,/:;=?@[]~"
"""What is left as it is in a path or query beside letters, digits and _.-; % may be an escape."""

Slot = int | None
"""Number of an address, ``UNUSABLE``, or None where a slot has no link."""


@attrs.frozen
class Addresses:
    """What a part's rows want from the web.

    Attributes:
        distinct: web addresses, each once.
        slots: for each row the slots' addresses.
        listed: whether a row is a list of slots; else it has one, and its value is no list.
    """

    distinct: Sequence[str]
    slots: Sequence[Sequence[Slot] | None]
    listed: bool


def addresses_of(column: pa.ChunkedArray, name: str) -> Addresses:
    """The addresses of a column of links, or of lists of links.

    Raises:
        ValueError: the column holds neither.
    """
    kind = column.type
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not _is_text(kind.value_type if listed else kind):
        raise ValueError(
            f"the column {name!r} holds {kind}, wanted links (strings) or lists of links"
        )
    numbers: dict[str, int] = {}

    def slot(link: bytes | None) -> Slot:
        if link is None:
            return None
        address = web_address(link)
        return UNUSABLE if address is None else numbers.setdefault(address, len(numbers))

    plain = pa.list_(pa.large_binary()) if listed else pa.large_binary()
    slots: list[Sequence[Slot] | None] = []
    for chunk in column.chunks:
        for value in chunk.cast(plain).to_pylist():
            if listed:
                slots.append(None if value is None else [slot(link) for link in value])
            else:
                slots.append([slot(value)])
    return Addresses(list(numbers), slots, listed)


def web_address(link: bytes) -> str | None:
    """The link as it is asked for: spaces and letters beyond ASCII escaped, the fragment left out.

    None for what is no link to the web: other schemes would read this machine's files.
    """
    if len(link) > LONGEST:
        return None
    try:
        parts = urlsplit(link.decode().strip())
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            return None
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:  # no UTF-8, no port, half an address of IPv6, no name of a host
        return None
    if any(ord(letter) <= 0x20 for letter in host):
        return None
    host = f"[{host}]" if ":" in host else host
    place = host if port is None else f"{host}:{port}"
    path, query = quote(parts.path, safe=_KEPT), quote(parts.query, safe=_KEPT)
    return urlunsplit((parts.scheme, place, path, query, ""))


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)
    return bool(text or types.is_null(kind))  # a column without a single link has no type
