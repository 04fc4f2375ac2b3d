"""Fixtures for the evaluation's tests."""

import pytest

from tests.unit.synthetic import Results, make_results


@pytest.fixture(scope="session")
def shared_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One synthetic results tree for all tests that only read it."""
    return make_results(tmp_path_factory.mktemp("shared") / "results")
