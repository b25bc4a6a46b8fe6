"""Takes elements of a JSON array apart that hold several records each, without a change to any of their bytes."""

import json
import re
from collections.abc import Iterator

from pipeline_assets.sources.formats.ready import Nested

_SPACE = re.compile(r"[ \t\r\n]*")
_decode = json.JSONDecoder().raw_decode


def records_of(element: bytes, nested: Nested) -> Iterator[bytes]:
    """The records of an element, one for each object of its array; the element itself where there is no such array.

    So a record is lost in no case: what is no JSON, or another object, is left for the staging query to refuse.

    Args:
        element: one element of a JSON array.
        nested: where its records are, and what each is told of the element.
    """
    # One letter for each byte: what lies between two places is the same bytes, whatever their encoding.
    text = element.decode("latin-1")
    try:
        members = list(_members(text))
    except (ValueError, RecursionError):
        members = []
    inner = [span for key, _, span in members if key == nested.array and text[span.start] == "["]
    items = list(_items(text, inner[-1])) if inner else []
    if not items:
        yield element
        return
    own = [text[whole.start : whole.stop] for key, whole, _ in members if key != nested.array]
    own += list(_shared(text[items[0].start : items[0].stop], nested))
    for item in items:
        record = f"{json.dumps(nested.record)}:{text[item.start : item.stop]}"
        yield f"{{{','.join([*own, record])}}}".encode("latin-1")


def _shared(item: str, nested: Nested) -> Iterator[str]:
    """What every record is told of the first."""
    if not item.startswith("{"):
        return
    values = {key: item[span.start : span.stop] for key, _, span in _members(item)}
    for name, field in nested.of_first.items():
        if field in values:
            yield f"{json.dumps(name)}:{values[field]}"


def _members(text: str) -> Iterator[tuple[str, slice, slice]]:
    """The keys of an object, each with where it stands with its value, and where the value does.

    Raises:
        ValueError: the text is no object, or more than one.
    """
    if not text.startswith("{") or _decode(text)[1] != len(text):
        raise ValueError("no object")
    place = _after_space(text, 1)
    while text[place] != "}":
        key, end = _decode(text, place)
        start = _after_space(text, _after_space(text, end) + 1)
        end = _decode(text, start)[1]
        yield key, slice(place, end), slice(start, end)
        place = _after_comma(text, end)


def _items(text: str, array: slice) -> Iterator[slice]:
    """Where the elements of an array stand."""
    place = _after_space(text, array.start + 1)
    while text[place] != "]":
        end = _decode(text, place)[1]
        yield slice(place, end)
        place = _after_comma(text, end)


def _after_comma(text: str, place: int) -> int:
    place = _after_space(text, place)
    return _after_space(text, place + 1) if text[place] == "," else place


def _after_space(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    return space.end() if space else place
