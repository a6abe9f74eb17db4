"""Bodies in JSON that name repositories: a registry's own names in them, changed.

Whatever is not such a body, or has nothing to change, stays as it is, byte for byte.
"""

import json
import re
from collections.abc import Callable
from typing import Any

LARGEST = 2**20
"""In bytes: a larger body is no list of tags and no error that somebody reads."""

_MEDIA_TYPE = re.compile(rb"application/(?:[!#$&^_.+a-z0-9-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_END_POINTS = "manifests|blobs|tags|referrers"

Change = Callable[[str], str | None]
"""From a registry's name of a repository to the front's; None where the front has none for it."""


def is_json(content_type: bytes) -> bool:
    """Whether a ``Content-Type`` says JSON."""
    return _MEDIA_TYPE.fullmatch(content_type.strip()) is not None


def tags(body: bytes, change: Change) -> bytes:
    """A list of tags with another name of their repository."""

    def named(document: Any) -> Any:
        if isinstance(document, dict) and isinstance(name := document.get("name"), str):
            return {**document, "name": change(name) or name}
        return document

    return _changed(body, named)


def catalog(body: bytes, change: Change) -> bytes:
    """A list of repositories without those that the front has no name for."""

    def listed(document: Any) -> Any:
        if not isinstance(document, dict):
            return document
        names = document.get("repositories")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return document
        kept = [here for name in names if (here := change(name)) is not None]
        return {**document, "repositories": kept}

    return _changed(body, listed)


def errors(body: bytes, there: str, here: str, change: Change) -> bytes:
    """Errors (distribution-spec §Error Codes) about the repository `there`, which is `here`.

    Details name repositories; messages tell of this one in the midst of a sentence.
    """
    mention = re.compile(
        rf"(?:(?<![\w./-])|(?<=/v2/)){re.escape(there)}(?![\w-]|\.\w|/(?!(?:{_END_POINTS})/))"
    )

    def told(value: Any, key: str = "") -> Any:
        match value:
            case str() if key in ("name", "Name"):
                return change(value) or value
            case str():
                return mention.sub(lambda found: here, value)
            case list():
                return [told(each) for each in value]
            case dict():
                return {name: told(each, name) for name, each in value.items()}
        return value

    def listed(document: Any) -> Any:
        if not isinstance(document, dict) or not isinstance(found := document.get("errors"), list):
            return document
        return {**document, "errors": [_error(each, told) for each in found]}

    return _changed(body, listed)


def _error(error: Any, told: Callable[[Any], Any]) -> Any:
    if not isinstance(error, dict):
        return error
    texts = {key: told(error[key]) for key in ("message", "detail") if key in error}
    return {**error, **texts}


def _changed(body: bytes, change: Callable[[Any], Any]) -> bytes:
    if len(body) > LARGEST:
        return body
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse)
        changed = change(document)
        if changed == document:
            return body
        return json.dumps(changed, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError):
        return body


def _refuse(constant: str) -> Any:
    # NaN and the infinities are no JSON, though Python's reader takes them.
    raise ValueError(constant)
