"""What every test may use. The fixtures stand in ``tests/support``."""

import gc
from collections.abc import Iterator

import hypothesis
import pytest
from django.core.cache import cache

# Each comes before those that import it.
pytest_plugins = ["tests.support.sandbox", "tests.support.services", "tests.support.browser", "tests.support.cast"]


# As in CI, so that a busy laptop is no failure, and one that was seen is seen again.
hypothesis.settings.register_profile("tollgate", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tollgate")


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: the garbage collector need not look at it after each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Rate limits count in the cache: each test starts from zero."""
    cache.clear()
    yield
    cache.clear()
