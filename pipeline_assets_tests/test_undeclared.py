"""What was declared, written down and read again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.analyses.kinds import KINDS
from pipeline_assets.analyses.loading import load_analyses
from pipeline_assets.declarations.analyses import Analyses, Conversion, Currencies
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.sources.declaration import FORMATS, Source
from pipeline_assets.sources.loading import load_sources
from pipeline_assets.sources.mapping import declaration_version_of
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.patience import GLANCE, waiting
from pipeline_assets.storage.store import Store
from pipeline_assets.undeclared import (
    ONCE,
    SOURCE,
    WITH_TABLE,
    Declaration,
    declarations,
    in_force,
    missing,
    read_copy,
    write_copy,
)
from pipeline_assets_tests.end_to_end.random_traffic import declare
from pipeline_assets_tests.own_tables import write_package
from pipeline_assets_tests.sources.staging_rows import FIRST_DAY
from pipeline_assets_tests.storage.object_store import in_environment

WEB = {"path": "web/*", "format": "segment"}
MAPPINGS = st.dictionaries(
    st.sampled_from(["event_name", "occurred_at", "user_id", "page_url", "revenue"]), st.sampled_from(["a", "b.c", "1"])
)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """Any source, with much or little said."""
    attributes = draw(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["web", "app"]), "path": st.just("web/*"), "format": st.sampled_from(FORMATS)},
            optional={
                "property": st.just("shop"),
                "mapping": MAPPINGS,
                "ids": st.dictionaries(st.sampled_from(["email", "phone"]), st.just("a")),
                "time": st.sampled_from([{"format": "epoch_ms"}, {"columns": {"received_at": {"zone": "UTC"}}}]),
                "sessions": st.sampled_from([{"mode": "inferred"}, {"mode": "supplied", "max_session_days": 5}]),
                "required": st.sampled_from([[], ["user_id"]]),
                # Their order counts, and is none that sorting would give.
                "rules": st.just({"zz": "true", "a": "true", "m": "true"}),
                "dedup_days": st.integers(0, 3),
                "bounds": st.just({"late": 1}),
            },
        )
    )
    return Source.model_validate(attributes)


@given(source=sources())
def test_a_source_that_is_written_down_and_read_again_is_staged_as_before(
    tmp_path_factory: pytest.TempPathFactory, source: Source
) -> None:
    folder = tmp_path_factory.mktemp("lake")
    written = declarations([source], Analyses())
    write_copy(LocalStore(folder), written)
    (found,) = read_copy(LocalStore(folder))
    assert found == written[0]
    assert found.value() == source
    again = found.value()
    assert isinstance(again, Source)
    assert declaration_version_of(again, "UTC", FIRST_DAY) == declaration_version_of(source, "UTC", FIRST_DAY)


def test_of_a_ready_format_only_what_is_declared_beyond_it_is_written_down() -> None:
    source = Source.model_validate(
        {"name": "web", "path": "web/*", "format": "segment", "mapping": {"revenue": "total"}, "dedup_days": 1}
    )
    (found,) = declarations([source], Analyses())
    assert found.attributes == {"name": "web", "path": "web/*", "format": "segment", "mapping": {"revenue": "total"}}


def test_every_kind_of_analysis_that_is_written_down_counts_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_package(tmp_path, "acme_written_down")
    (tmp_path / "loyal_visitors").mkdir()
    (tmp_path / "loyal_visitors" / "defs.yaml").write_text(
        "type: pipeline_assets.components.Table\nattributes: {spec: acme_written_down.loyal_visitors:loyal_visitors}\n"
    )
    known = [*load_sources(tmp_path)], load_analyses(tmp_path)
    written = declarations(*known)
    assert {each.kind for each in written} >= {SOURCE, *KINDS} - ONCE
    thawed = in_force([], Analyses(), written, thaw=True)
    assert (list(thawed.sources), thawed.analyses) == known
    counting = in_force([], Analyses(), written)
    assert counting.analyses == Analyses((*known[1].of(Conversion), *known[1].of(Currencies)))
    assert list(counting.undeclared) == written


def test_what_is_declared_takes_the_place_of_the_same_and_of_what_there_is_one_of() -> None:
    old = [Declaration(kind, "a", {}) for kind in (SOURCE, *sorted(KINDS))]
    assert missing(old, old) == []
    assert missing([Declaration("Funnel", "a", {})], old) == [each for each in old if each.kind not in WITH_TABLE]
    assert missing([Declaration("Channels", "b", {})], old) == [each for each in old if each.kind != "Channels"]
    assert missing([Declaration(SOURCE, "b", {})], old) == old


def test_a_declaration_that_this_version_cannot_read_is_told_with_what_to_do() -> None:
    gone = Declaration(SOURCE, "web", {"name": "web", "path": "web/*", "format": "no longer known"})
    with pytest.raises(DeclarationError, match=r"'web' .* cannot be read by this version.*retire web"):
        in_force([], Analyses(), [gone])


def test_a_damaged_copy_says_nothing(tmp_path: Path) -> None:
    for text in ("", "{", "[1]", '[{"kind": 1}]', "null"):
        (tmp_path / "declarations.json").write_text(text)
        assert read_copy(LocalStore(tmp_path)) == []


def test_the_newest_copy_counts_and_the_others_go(store: Store) -> None:
    first, second = (declarations([Source.model_validate(WEB | {"name": name})], Analyses()) for name in "ab")
    store.put("declarations.json", b"[]")
    for number, written in enumerate((first, first, second, first), 1):
        write_copy(store, written)
        assert read_copy(store) == written
        assert [found.name for found in store.list()] == [f"declarations/{[1, 1, 2, 3][number - 1]:010}.json"]


def test_where_the_copy_cannot_be_read_nothing_is_known_to_have_been_declared(
    object_store: dict[str, str], tmp_path: Path
) -> None:
    with in_environment(object_store, home=tmp_path), waiting(GLANCE):
        assert read_copy(open_store("s3://no-such-bucket/lake")) == []
    with in_environment(object_store | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, home=tmp_path), waiting(GLANCE):
        assert read_copy(open_store("s3://bucket/lake")) == []
