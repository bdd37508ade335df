"""What every test may use. The fixtures stand in ``tests/support``."""

import gc
from collections.abc import Iterator

import pytest
from django.core.cache import cache

# Each comes before those that import it.
pytest_plugins = ["tests.support.sandbox", "tests.support.services", "tests.support.browser", "tests.support.cast"]


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
