"""Telling "a server we need does not answer" from "the code is wrong"."""

import sqlite3

from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

# Primary result codes (https://sqlite.org/rescode.html) that pass by themselves or need an operator: busy, locked, read-only,
# input/output error, full, cannot open. What remains ("no such table") is a fault of ours.
_SQLITE_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the error means that the database or the cache cannot be used at the moment."""
    if isinstance(error, RedisError):
        return True
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_CODES
    return True
