"""The database's clock. A moment that several processes compare is written by it, and looked at by it: each process's own may be wrong.

In queries ``Now()`` says the same. SQLite cuts it to milliseconds: a moment of this process's own clock may be later by less than one.
"""

from datetime import datetime

from django.db import connection
from django.db.models.functions import Now
from django.db.models.sql import Query


def database_now() -> datetime:
    """Now, by the database's clock: one query, that reads no table."""
    query = Query(None)
    query.add_annotation(Now(), "now")
    [[now]] = query.get_compiler(connection=connection).results_iter()
    moment: datetime = now
    return moment
