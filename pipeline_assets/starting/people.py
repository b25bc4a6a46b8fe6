"""Finds out whose events a sample holds."""

import re

from pipeline_assets.sources.no_ids import NO_IDS
from pipeline_assets.starting import values
from pipeline_assets.starting.columns import Columns, Part, column_sql
from pipeline_assets.starting.names import known, rank
from pipeline_assets.starting.samples import Column, SampleError

_NO_IDS = frozenset(value.lower() for value in NO_IDS)


class People:
    """Whose events they are.

    Args:
        columns: the columns of the sample.
        visitor: the column with the id, if it was named.
    """

    def __init__(self, columns: Columns, visitor: str | None) -> None:
        self.columns, self.visitor = columns, visitor

    def find(self) -> Part:
        """The ids of visitors and users.

        Raises:
            SampleError: there are none.
        """
        part = Part()
        columns = self.columns
        chosen = columns.take(columns.named(self.visitor, "--visitor")) if self.visitor else None
        user = visitor = None
        if chosen is not None and rank(chosen.path, known("user")) > rank(chosen.path, known("visitor")):
            user = chosen
        else:
            visitor = chosen
        if chosen is None:
            visitor = columns.take(columns.best(known("visitor"), may_be_id, least=1.5))
            user = columns.take(columns.best(known("user"), may_be_id, least=1.5))
        if visitor is None and user is None:
            visitor = columns.take(next(filter(_repeats, columns.free()), None))
            if visitor is not None:
                part.comments["anonymous_id"] = (
                    "the ids in this column come again, as those of visitors do: is it that?"
                )
        if visitor is None and user is None:
            emails = next((column for column in columns.free() if values.are_emails(column.values)), None)
            user = columns.take(emails)
        if user is not None:
            part.mapping["user_id"] = id_sql(user)
            if values.are_emails(user.values):
                part.comments["user_id"] = "personal data; sha256(lower(…)) of it identifies as well"
        if visitor is not None:
            part.mapping["anonymous_id"] = id_sql(visitor)
        if not part.mapping:
            self._by_address(part)
        if not part.mapping:
            raise SampleError(
                f"no column was found that says whose events these are. {columns.listed()}. Name it: --visitor COLUMN "
                "(a visitor's, customer's or device's id; where there is none, a receipt or machine may stand for one)"
            )
        if "user_id" not in part.mapping:
            part.open["user_id"] = "the signed-in user's or customer's id, if there is a column for it"
        if "anonymous_id" not in part.mapping:
            part.open["anonymous_id"] = "the id of the device or browser, if there is a column for it"
        return part

    def _by_address(self, part: Part) -> None:
        address = next((column for column in self.columns.free() if values.are_addresses(column.values)), None)
        if address is None:
            return
        agent = next((column for column in self.columns.free() if values.are_user_agents(column.values)), None)
        of = [column_sql(column.path) for column in (address, agent) if column is not None]
        part.mapping["anonymous_id"] = f"sha256(concat_ws(' ', {', '.join(of)}))"
        part.comments["anonymous_id"] = "there is no id, so it is a hash of address and browser: a pseudonym"


def id_sql(column: Column) -> str:
    """A column of ids as an expression."""
    text = column_sql(column.path)
    # What passed through a data frame with gaps: 17850.0 for 17850.
    if column.type == "text" and values.nearly_all(column.values, re.compile(r"\d+\.0")):
        return f"regexp_replace({text}, '\\.0$', '')"
    return text


def may_be_id(column: Column) -> bool:
    """Whether values tell many from each other: no amounts, times, addresses of pages or yes and no."""
    texts = column.values
    if column.type in ("boolean", "time", "zoned_time", "date", "nested"):
        return False
    if all(value.lower() in _NO_IDS for value in texts):
        return False
    found = values.time_formats(texts)
    if any(each.certain for each in found) or values.are_urls(texts) or values.are_user_agents(texts):
        return False
    style = values.number_style(texts, comma_first=False)
    fractions = any(re.search(r"[.,]\d*[1-9]", text) for text in texts)
    return not (style is not None and fractions)


def _repeats(column: Column) -> bool:
    """Whether values look like random ids and come again."""
    texts = column.values
    return column.type == "text" and values.are_random_ids(texts) and 1 < column.distinct < len(texts)
