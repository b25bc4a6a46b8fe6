"""Values that programs send where they have no id.

Such a value taken for an id makes one person of all visitors, one order of all orders, or one event of a whole file.
PostHog refuses to merge people on most of them: https://posthog.com/docs/product-analytics/identify
"""

from collections.abc import Callable, Collection

NO_IDS = (
    "null",
    "none",
    "nil",
    "nan",
    "undefined",
    "unknown",
    "anonymous",
    "guest",
    "not_authenticated",
    "(not set)",
    "0",
    "-1",
    "true",
    "false",
    "[object Object]",
    "00000000-0000-0000-0000-000000000000",
    "id",
    "distinct_id",
    "user_id",
    "anonymous_id",
    "email",
)
"""The values that are no ids unless a source says otherwise; the empty text never is one."""

IDENTIFIERS = ("event_id", "anonymous_id", "user_id", "session_id_supplied", "view_id", "order_id")
"""Columns of `StagedEvents` that hold an id, beside the further ids."""

_COUNTED = ("session_id_supplied", "view_id")
# Sessions and views may be numbered, from 0, for each visitor; their ids say nothing without the visitor.
_FIRST_NUMBER = "0"


def no_ids_of(column: str, declared: Collection[str] | None) -> tuple[str, ...]:
    """The values that are no ids in a column, in lower case, without space around them, sorted.

    Args:
        column: one of `IDENTIFIERS`, or any name for a further id.
        declared: what the source declares in place of `NO_IDS`; None where it declares nothing.
    """
    values = {value.strip().lower() for value in (NO_IDS if declared is None else declared)}
    return tuple(sorted(values - {"", *((_FIRST_NUMBER,) if column in _COUNTED else ())}))


def which_no_id(text: str, values: Collection[str], literal: Callable[[str], str]) -> str:
    """SQL of the one of some values that a text is, in whatever case; null where it is an id.

    Args:
        text: SQL of a trimmed text.
        values: as `no_ids_of` gives them.
        literal: a text as an SQL literal.
    """
    by_length: dict[int, list[str]] = {}
    for value in values:
        by_length.setdefault(len(value.encode()), []).append(value)
    if not by_length:
        return "NULL::VARCHAR"
    # Lengths are compared first: of the many ids that are none of these, next to none has the length of one.
    cases = " ".join(
        f"WHEN {length} THEN CASE lower({text}) "
        + " ".join(f"WHEN {literal(value)} THEN {literal(value)}" for value in same)
        + " END"
        for length, same in sorted(by_length.items())
    )
    return f"CASE strlen(lower({text})) {cases} END"
