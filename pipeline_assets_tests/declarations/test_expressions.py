"""Which functions an expression may call: those that give the same value for the same row, whenever and wherever."""

import pytest

from pipeline_assets.declarations.expressions import ExpressionError, database, parse


@pytest.mark.parametrize(
    "text",
    [
        "x + 1",
        "x - 1",
        "-x",
        "x::timestamptz + interval '1 hour'",
        "x::timestamptz - interval '1 hour'",
        "date_trunc('day', x::timestamptz)",
        "hour(x::timestamptz)",
        "strftime(x::timestamptz, '%Y')",
        "x::timestamptz AT TIME ZONE 'Europe/Berlin'",
        "time_bucket(interval '1 hour', x::timestamptz)",
        "range(3)[1]",
    ],
)
def test_an_overload_that_follows_the_time_zone_of_the_session_does_not_refuse_its_function(text: str) -> None:
    assert parse(text).text == text


@pytest.mark.parametrize("text", ["now()", "random()", "uuid()", "today()", "getvariable('x')", "x + random()"])
def test_a_function_that_varies_whatever_it_is_given_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="does not always give the same result"):
        parse(text)


def test_every_volatile_function_is_refused() -> None:
    rows = (
        database()
        .cursor()
        .execute("""
        SELECT DISTINCT function_name FROM duckdb_functions()
        WHERE function_type = 'scalar' AND stability = 'VOLATILE' AND regexp_full_match(function_name, '[a-z_0-9]+')
    """)
    )
    names = [name for (name,) in rows.fetchall()]
    assert len(names) > 5
    for name in names:
        with pytest.raises(ExpressionError):
            parse(f"{name}(x)")
