"""The command line `pipeline-assets`."""

from pipeline_assets.cli import init
from pipeline_assets.cli.commands import app

__all__ = ["app", "init"]
