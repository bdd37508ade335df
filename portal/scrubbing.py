"""Taking secrets out of what is logged: by the name of a field, and by the look of a text.

One structlog processor, the last before the renderer, sees every event: ours and those of libraries, messages, fields and
tracebacks. It errs on the side of taking too much.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

GONE = "[scrubbed]"
MAX_DEPTH = 8
MAX_TEXT = 20_000

# A field with such a name is never shown, whatever it holds.
SECRET_NAMES = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|cookie|csrf|session_?(id|key)|credential|api_?key_?value|x_?api_?key"
    r"|(private|encryption|access|signing|confirmation|reset)_?key|signature|recovery_?code|\botp\b|^key$",
    re.IGNORECASE,
)
# The same names inside a text, with whatever a caller puts in front of them (db_password, aws_session_token).
_NAMES_IN_TEXT = (
    r"\b\w*(?:authorization|x-api-key|cookie|csrf\w*|x-csrftoken|sessionid|__host-\w+|passw(?:or)?d\w*|secret\w*|token"
    r"|credentials?|encryption_keys?|signature)"
)
_QUOTE = r"\\?[\"']"
_QUOTED = r"(?:\\\".*?\\\"|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
# What was taken out already is left alone.
_VALUE = r"(?!\[scrubbed\])"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Values that give themselves away: credentials and tokens of ours, Fernet texts, AWS access keys.
    (re.compile(r"tg[a-z]_?[0-9A-Za-z]{12,}"), GONE),
    (re.compile(r"gAAAA[0-9A-Za-z_=-]{20,}"), GONE),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"), GONE),
    # Links in mails: e-mail confirmation, password reset; and their keys standing alone.
    (re.compile(r"(confirm-email(?:/|%2F))[^/\s\"'?&<>%]+", re.IGNORECASE), rf"\1{GONE}"),
    (re.compile(r"(password(?:/|%2F)reset(?:/|%2F)key(?:/|%2F))(?!done\b)[^/\s\"'?&<>%]+", re.IGNORECASE), rf"\1{GONE}"),
    (re.compile(r"(?<![\w-])[\w-]+:[0-9A-Za-z]{6}:[\w-]{27,}"), GONE),
    (re.compile(r"\b[0-9a-zA-Z]+-[0-9a-z]{6,}-[0-9a-f]{32}\b"), GONE),
    # user:password@ in URLs; then whatever stands behind a question mark.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s\"'@]*@", re.IGNORECASE), rf"\1{GONE}@"),
    (re.compile(r"((?:[a-z]+://|/)[^\s\"'<>?]*)\?[^\s\"'<>]+", re.IGNORECASE), rf"\1?{GONE}"),
    (re.compile(r"\bAWS4-HMAC-SHA256\b[^\n\"']*"), GONE),
    (re.compile(r"\bbearer\s+[\w+/=.~-]{6,}|\b(?:basic|token)\s+[\w+/=.~-]{20,}", re.IGNORECASE), GONE),
    # name: "text" in JSON, in a Python repr, in a pair; then the rest of a header's line; then name=word.
    (re.compile(rf"({_NAMES_IN_TEXT}{_QUOTE}?\s*[:=,]\s*b?){_QUOTED}", re.IGNORECASE), rf"\1{GONE}"),
    (re.compile(rf"((?:authorization|cookie)\s*[:=]\s*){_VALUE}[^\n\r]+", re.IGNORECASE), rf"\1{GONE}"),
    (re.compile(rf"({_NAMES_IN_TEXT}\s*[:=]\s*){_VALUE}[^\s&,;\"'<>)}}\]]+", re.IGNORECASE), rf"\1{GONE}"),
)


def scrub_text(text: str) -> str:
    """The text, cut at MAX_TEXT characters, without what looks like a secret."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}..."
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def scrub(value: Any, depth: int = 0) -> Any:
    """The value without secrets: containers field by field; anything that is no plain value as its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return scrub_text(bytes(value).decode("utf-8", "replace"))
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        return {scrub_text(str(name)): _scrub_field(str(name), held, depth) for name, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
        return [_scrub_item(item, depth) for item in value]
    return scrub_text(str(value))


def _scrub_field(name: str, value: Any, depth: int) -> Any:
    if SECRET_NAMES.search(name.replace("-", "_")) and value is not None and not isinstance(value, bool):
        return GONE
    return scrub(value, depth + 1)


def _scrub_item(item: Any, depth: int) -> Any:
    """A pair whose first half is a secret's name is a header: ``("X-Api-Key", "...")``."""
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return [scrub_text(item[0]), _scrub_field(item[0], item[1], depth)]
    return scrub(item, depth + 1)


def scrub_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """The structlog processor."""
    return {name: _scrub_field(name, value, 0) for name, value in event.items()}
