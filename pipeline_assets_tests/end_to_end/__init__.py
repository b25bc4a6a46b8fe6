"""The whole pipeline on real files, a real PostgreSQL server and real Dagster runs."""

import pytest

pytest.register_assert_rewrite("pipeline_assets_tests.end_to_end.deployment")
