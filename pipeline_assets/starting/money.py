"""Finds out what was paid in a sample: how much, in which currency, for which order and for what."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_assets.sql import literal
from pipeline_assets.starting import values
from pipeline_assets.starting.columns import Columns, Part, column_sql
from pipeline_assets.starting.names import CURRENCY_SIGNS, currency_in, known
from pipeline_assets.starting.people import may_be_id
from pipeline_assets.starting.samples import Column


@dataclass
class Money:
    """What was paid, in what, for which order and for what.

    Attributes:
        columns: the columns of the sample.
        style: decimal mark of the amounts, and what stands between groups of digits; None where there are none.
        currencies: the currencies that occur, the most frequent first.
        paid_back: SQL that is true where money was paid back; None where none was in the sample.
        is_usual: whether most records have an amount, as rows of a till do and events of an app do not.
    """

    columns: Columns
    style: tuple[str, str] | None = None
    currencies: tuple[str, ...] = ()
    paid_back: str | None = None
    is_usual: bool = True

    def find(self) -> Part:
        """The mapping of revenue, currency, order and items; nothing but the order where there is no amount."""
        part = Part()
        columns = self.columns
        currency = columns.take(columns.best((), lambda each: values.are_currencies(each.values), least=0.0))
        if currency is not None:
            part.mapping["currency"] = column_sql(currency.path)
            counts = {code.upper() for code in currency.values}
            self.currencies = tuple(sorted(counts, key=lambda code: -sum(v.upper() == code for v in currency.values)))
        order = columns.take(columns.best(known("order_id"), _may_be_order, least=1.5))
        if order is not None:
            part.mapping["order_id"] = column_sql(order.path)
        quantity = columns.best(known("quantity"), self._is_number, least=1.5)
        price = columns.best(known("price"), self._is_number, least=1.5) if quantity else None
        amount = columns.best(known("revenue"), lambda each: self._is_amount(each) and each is not quantity, least=1.5)
        if amount is None and currency is not None:
            amount = columns.best((), lambda each: self._is_number(each) and values.has_cents(each.values), least=0.0)
        if amount is None and price is None:
            for column in columns.free():
                found = values.undecorated(column.values)
                if found is not None and column.type == "text" and self._style_of(found[0]) is not None:
                    amount = column
                    break
        if price is not None and quantity is not None and amount in (None, price):
            part.mapping["revenue"] = f"{self._number(quantity)} * {self._number(price)}"
            part.comments["revenue"] = "quantity times price"
            self._refunds(quantity)
        elif amount is not None:
            self._amount(columns.take(amount), part)
        if "revenue" not in part.mapping:
            return Part(
                {"order_id": part.mapping["order_id"]} if order is not None else {},
                open={"revenue": "the amount of money of an event, and `currency` beside it"},
            )
        if "currency" not in part.mapping:
            part.open["currency"] = (
                "a column, or one code for all, such as \"'EUR'\"; without it amounts are in the reporting currency"
            )
        if order is None:
            part.open["order_id"] = "the number of the order or receipt; `orders` has no rows without it, `revenue` has"
        self._items(part, quantity, price)
        return part

    def _amount(self, amount: Column | None, part: Part) -> None:
        if amount is None:
            return
        text = column_sql(amount.path)
        self.style = self._style_of(amount.values)
        if self.style is None and (found := values.undecorated(amount.values)) is not None:
            self.style = self._style_of(found[0])
            text = f"regexp_replace({text}, '[^0-9.,''+-]', '', 'g')"
            codes = {CURRENCY_SIGNS.get(sign, sign) for sign in found[1]}
            if "currency" not in part.mapping and len(codes) == 1 and values.are_currencies(sorted(codes)):
                part.mapping["currency"] = f"'{codes.pop()}'"
                self.currencies = (part.mapping["currency"].strip("'"),)
        named = currency_in(amount.path[-1])
        if "currency" not in part.mapping and named:
            part.mapping["currency"], self.currencies = literal(named), (named,)
        part.mapping["revenue"] = text
        self.is_usual = sum(re.search("[1-9]", value) is not None for value in amount.values) >= amount.records / 2
        self._refunds(amount)

    def _refunds(self, column: Column) -> None:
        if any("-" in value for value in column.values):
            text = column_sql(column.path)
            native = column.type == "number" and self.columns.sample.record_format.types_in_file
            self.paid_back = f"{text} < 0" if native else f"contains({text}, '-')"

    def _items(self, part: Part, quantity: Column | None, price: Column | None) -> None:
        """What was bought, where each row is one product."""
        sku = self.columns.best(known("sku"), lambda column: column.type in ("text", "number"), least=1.5)
        name = self.columns.best(
            known("product"), lambda column: column.type == "text" and column is not sku, least=1.5
        )
        if sku is None and name is None:
            return
        # A list of several products is something else.
        if any(column is not None and column.values[0].startswith(("[", "{")) for column in (sku, name)):
            return
        fields = {"sku": sku, "name": name}
        pairs = [f"'{key}', {column_sql(column.path)}" for key, column in fields.items() if column is not None]
        pairs += [
            f"'{key}', {self._number(column)}"
            for key, column in (("price", price), ("quantity", quantity))
            if column is not None
        ]
        items = f"json_array(json_object({', '.join(pairs)}))"
        named = [column for column in (sku, name) if column is not None]
        if all(len(column.values) < column.records for column in named):
            # What names no product has none: an event of an app, a row with the postage.
            is_product = " OR ".join(f"{column_sql(column.path)} IS NOT NULL" for column in named)
            items = f"CASE WHEN {is_product} THEN {items} END"
        part.mapping["items"] = items

    def _is_number(self, column: Column) -> bool:
        return column.type == "number" or (column.type == "text" and self._style_of(column.values) is not None)

    def _is_amount(self, column: Column) -> bool:
        found = None if self._is_number(column) else values.undecorated(column.values)
        return self._is_number(column) or (found is not None and self._style_of(found[0]) is not None)

    def _style_of(self, texts: Sequence[str]) -> tuple[str, str] | None:
        sample = self.columns.sample
        if sample.delimited:
            return values.number_style(texts, comma_first=sample.attributes.get("csv", {}).get("delimiter") == ";")
        # Elsewhere numbers are written in one way.
        found = values.number_style(texts, comma_first=False)
        return found if found == (".", "") else None

    def _number(self, column: Column) -> str:
        """SQL of an exact number in a column of text."""
        text = column_sql(column.path)
        if column.type == "number" and self.columns.sample.record_format.types_in_file:
            return f"{text}::DECIMAL(18, 6)"
        decimal, thousands = self._style_of(column.values) or (".", "")
        if thousands:
            text = f"replace({text}, {literal(thousands)}, '')"
        if decimal != ".":
            text = f"replace({text}, {literal(decimal)}, '.')"
        whole = not any(re.search(r"[.,]", value) for value in column.values)
        return f"{text}::BIGINT" if whole else f"{text}::DECIMAL(18, 6)"


def _may_be_order(column: Column) -> bool:
    texts = column.values
    several = column.distinct > 1 or len(texts) == 1
    return may_be_id(column) and several and not values.has_cents(texts)
