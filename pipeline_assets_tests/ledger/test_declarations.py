"""What the ledger remembers of declarations, and forgets when they are retired."""

from datetime import date

import sqlalchemy as sa

from pipeline_assets.ledger.declarations import DeclarationLedger
from pipeline_assets.ledger.files import Booking, FileLedger, Load
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.schema import files, staged
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.undeclared import SOURCE, Declaration
from pipeline_assets_tests.ledger.staged_rows import lake_files


def test_what_a_load_books_while_its_source_is_retired_is_forgotten_with_it(postgres_url: str) -> None:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    web = Declaration(SOURCE, "web", {"name": "web"})
    ledger, loads = DeclarationLedger(engine), FileLedger(engine)
    load = Load("c" * 64, "r", lines=1, landed=1, days={date(2026, 3, 1): 1})
    loads.reserve({load.content: 1})
    ledger.begin_retiring(web)
    loads.book("web", [Booking("web/1", "stamp", load.content, load)], lake_files(load))
    ledger.finish_retiring(web)
    with engine.connect() as connection:
        assert connection.execute(sa.select(files.c.path)).all() == []
        assert connection.execute(sa.select(staged.c.content)).all() == []
    # Nothing is left of it that would have to count as last declared.
    assert list(ledger.memory().remembered) == []
    engine.dispose()
