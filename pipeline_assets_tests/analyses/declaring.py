"""Declarations for tests."""

from pathlib import Path

FUNNEL = """\
type: pipeline_assets.components.Funnel
attributes:
  steps:
    - {name: view, event: product_viewed}
    - {name: order, event: order_completed}
"""
RETENTION = """\
type: pipeline_assets.components.Retention
attributes:
  by: visitor
"""
PATHS = """\
type: pipeline_assets.components.Paths
attributes:
  of: events
"""
CONVERSION = """\
type: pipeline_assets.components.Conversion
attributes:
  event: order_completed
"""
ATTRIBUTION = """\
type: pipeline_assets.components.Attribution
attributes:
  by: person
"""
CHANNELS = """\
type: pipeline_assets.components.Channels
attributes:
  rules: ga4
"""
CURRENCIES = """\
type: pipeline_assets.components.Currencies
attributes:
  reporting: EUR
"""


def declare(folder: Path, text: str, name: str = "mine") -> Path:
    """Write a declaration into a folder of its own."""
    file = folder / name / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file
