"""What a deployment declares, as the makers of tables ask for it."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from pipeline_assets.declarations.analyses import Analyses, Currencies
from pipeline_assets.sources.declaration import Source
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets.transforms.sessionize import SessionRules, supplied_sources


@dataclass(frozen=True)
class Declarations:
    """The sources, analyses and settings that decide on tables.

    Attributes:
        sources: the declared sources.
        analyses: the declared analyses.
        timezone: the reporting time zone.
    """

    sources: tuple[Source, ...] = ()
    analyses: Analyses = field(default_factory=Analyses)
    timezone: str = "UTC"

    @cached_property
    def session_rules(self) -> dict[str, SessionRules]:
        """How the events of each source become sessions."""
        return {
            source.name: SessionRules(
                mode=source.sessions.mode,
                timeout=timedelta(minutes=source.sessions.timeout_minutes),
                split_on_campaign=source.sessions.split_on_campaign,
                split_at_midnight=source.sessions.split_at_midnight,
                max_session_days=source.sessions.max_session_days,
            )
            for source in self.sources
        }

    @cached_property
    def supplied_sources(self) -> tuple[str, ...]:
        """The sources whose trackers supply the ids of sessions."""
        return tuple(supplied_sources(self.session_rules))

    @property
    def longest_session_days(self) -> int:
        """The days after its first that a session may last."""
        return max([1, *(self.session_rules[name].max_session_days for name in self.supplied_sources)])

    @cached_property
    def rates(self) -> Rates:
        """The declared rates; without any, nothing is converted."""
        currencies = self.analyses.convention(Currencies)
        if currencies is None:
            return Rates()
        return Rates(
            currencies.reporting,
            tuple(Rate(rate.currency, rate.rate, rate.since or date.min) for rate in currencies.rates),
        )
