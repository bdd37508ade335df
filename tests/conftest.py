"""What every test may use. The fixtures stand in ``tests/support``."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache

# services comes first: the others import it.
pytest_plugins = ["tests.support.services", "tests.support.browser", "tests.support.cast", "tests.support.sandbox"]


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Rate limits count in the cache: each test starts from zero."""
    cache.clear()
    yield
    cache.clear()
