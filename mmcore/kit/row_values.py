"""Values of a row as text: what a column or a tar's member holds is checked before it is used."""

from __future__ import annotations

from mmcore.interfaces import ImageRef, Rejection


def text_of(name: str, value: object) -> str:
    """The text of a value that was read as undecoded bytes, without space around it.

    Raises:
        Rejection: ``caption-missing`` where there is none; ``malformed-row`` where it is no
            string, not UTF-8, or holds a null byte.
    """
    if value is None:
        raise Rejection("caption-missing", f"{name} is null")
    if not isinstance(value, bytes):
        raise Rejection("malformed-row", f"{name} is {value!r}, wanted a string")
    try:
        text = value.decode().strip()
    except UnicodeDecodeError as error:
        raise Rejection("malformed-row", f"{name}: {error}, wanted UTF-8") from error
    if "\0" in text:
        raise Rejection("malformed-row", f"{name} is {text!r}, wanted text without null bytes")
    if not text:
        raise Rejection("caption-missing", f"{name} is {value!r}, wanted a text")
    return text


def check_text(name: str, value: object) -> str:
    """The value, if it is text that can be encoded.

    Raises:
        Rejection: ``malformed-row``.
    """
    if not isinstance(value, str):
        raise Rejection("malformed-row", f"{name} is {value!r}, wanted a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON can spell half of a surrogate pair, which no tokenizer takes.
        raise Rejection("malformed-row", f"{name} is {value!r}: {error.reason}") from error
    return value


def picture_named(name: str, value: object, root: str) -> ImageRef:
    """The picture that a row names, below ``root``.

    Raises:
        Rejection: ``malformed-row``, where it is not named by a string.
    """
    path = check_text(name, value)
    if not path or "\0" in path:
        raise Rejection("malformed-row", f"{name} is {value!r}, wanted the name of a file")
    return ImageRef(path=path, root=root)
