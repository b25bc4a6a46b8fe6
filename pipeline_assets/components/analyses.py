"""The components behind the YAML of analyses: their attributes are the models of `declarations.analyses`."""

from typing import Any, ClassVar

import dagster as dg
from dagster.components.scaffold.scaffold import scaffold_with
from pydantic import BaseModel

from pipeline_assets.components.declaring import DeclaringComponent, attributes_of
from pipeline_assets.declarations import analyses as declaration


class AnalysisScaffolder(dg.Scaffolder):
    """Writes a declaration to start from."""

    example: ClassVar[dict[str, Any]] = {}

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write `defs.yaml` with an example."""
        dg.scaffold_component(request, self.example)


class FunnelScaffolder(AnalysisScaffolder):
    """Writes a funnel to start from."""

    example: ClassVar = {
        "by": "visitor",
        "window": "7d",
        "steps": [
            {"name": "product_viewed", "event": "product_viewed"},
            {"name": "order_completed", "event": "order_completed"},
        ],
    }


class RetentionScaffolder(AnalysisScaffolder):
    """Writes a retention to start from."""

    example: ClassVar = {"by": "person", "period": "week", "counting": "calendar", "periods": 12}


class PathsScaffolder(AnalysisScaffolder):
    """Writes paths to start from."""

    example: ClassVar = {"of": "pages", "max_length": 20}


class ConversionScaffolder(AnalysisScaffolder):
    """Writes a conversion to start from."""

    example: ClassVar = {"event": "order_completed", "where": "revenue > 0", "value": "revenue"}


class AttributionScaffolder(AnalysisScaffolder):
    """Writes an attribution to start from."""

    # Of the demo's conversion, so that the example is one that can be loaded.
    example: ClassVar = {"conversion": "purchase", "by": "person", "lookback_days": 30}


class TableScaffolder(AnalysisScaffolder):
    """Writes the name of a table of one's own to start from."""

    example: ClassVar = {"spec": "my_package.tables.my_table:my_table"}


class ChannelsScaffolder(AnalysisScaffolder):
    """Writes channels to start from."""

    example: ClassVar = {
        "rules": "ga4_plus",
        "own": [{"channel": "Newsletter", "medium": "email|newsletter", "campaign": "weekly-.*"}],
        "aliases": {"nl": "newsletter"},
    }


class CurrenciesScaffolder(AnalysisScaffolder):
    """Writes currencies to start from."""

    example: ClassVar = {"reporting": "EUR", "rates": [{"currency": "USD", "rate": 0.92}]}


class AnalysisComponent(DeclaringComponent):
    """What the components of analyses have in common."""

    model: ClassVar[type[declaration.Analysis]]

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The attributes in YAML are the analysis' declaration."""
        return attributes_of(cls.model)


@scaffold_with(FunnelScaffolder)
class Funnel(AnalysisComponent):
    """How many visitors or persons go through a series of steps within a time, and where they stop."""

    model = declaration.Funnel


@scaffold_with(RetentionScaffolder)
class Retention(AnalysisComponent):
    """How many of those who began in a day, week or month come back in later ones."""

    model = declaration.Retention


@scaffold_with(PathsScaffolder)
class Paths(AnalysisComponent):
    """Which page or event follows which within a session, its start and end included."""

    model = declaration.Paths


@scaffold_with(ConversionScaffolder)
class Conversion(AnalysisComponent):
    """An event that is worth something: a kind of rows in the table `conversions`."""

    model = declaration.Conversion


@scaffold_with(AttributionScaffolder)
class Attribution(AnalysisComponent):
    """Which visits a conversion is owed to, by up to eight models whose credits add up to its value."""

    model = declaration.Attribution


@scaffold_with(TableScaffolder)
class Table(AnalysisComponent):
    """A table of the team's own, made in its own package: `spec` says where its TableSpec is."""

    model = declaration.Table


@scaffold_with(ChannelsScaffolder)
class Channels(AnalysisComponent):
    """How the channel of a session is found: standard rules, the team's own rules before them, aliases of sources."""

    model = declaration.Channels


@scaffold_with(CurrenciesScaffolder)
class Currencies(AnalysisComponent):
    """The currency in which money is reported, and what the other currencies are worth."""

    model = declaration.Currencies
