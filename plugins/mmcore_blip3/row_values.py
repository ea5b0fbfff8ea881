"""Values of a row as text: what a column or a tar's member holds is checked before it is used."""

from __future__ import annotations

from mmcore.interfaces import Rejection


def spoken(name: str, text: object) -> str:
    """A text of a JSON file, or of a column that was read as undecoded bytes.

    Raises:
        Rejection: ``malformed-row``; it is no string, no UTF-8, or holds a null byte.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise Rejection("malformed-row", f"{name}: {error}, wanted UTF-8") from error
    if not isinstance(text, str):
        raise Rejection("malformed-row", f"{name} is {text!r}, wanted a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Rejection("malformed-row", f"{name} is {text!r}: {error.reason}") from error
    if "\0" in text:
        raise Rejection("malformed-row", f"{name} is {text!r}, wanted text without null bytes")
    return text


def text_of(name: str, value: object) -> str:
    """A text without space around it, of which there must be some.

    Raises:
        Rejection: ``caption-missing`` where there is none; ``malformed-row`` as ``spoken``.
    """
    if value is None:
        raise Rejection("caption-missing", f"{name} is null")
    text = spoken(name, value).strip()
    if not text:
        raise Rejection("caption-missing", f"{name} is {value!r}, wanted a text")
    return text
