"""Taking secrets out of what is logged: by the name of a field, and by the look of a text.

One structlog processor, the last before the renderer, sees every event: ours and those of libraries, messages, fields and
tracebacks. It errs on the side of taking too much. Visitors choose some of the texts (paths, host names), so every pattern takes
linear time: nothing unbounded stands in front of what it looks for.
"""

import functools
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

GONE = "[scrubbed]"
MAX_DEPTH = 8
MAX_TEXT = 20_000

# A field with such a name is never shown, whatever it holds.
SECRET_NAMES = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|cookie|csrf|session_?(id|key)|credential|api_?key_?value|x_?api_?key"
    r"|(private|encryption|access|signing|confirmation|reset)_?key|signature|recovery_?code|\botp\b|^key$",
    re.IGNORECASE,
)
# The same names inside a text, also as a part of a longer word (db_password, aws_session_token, password1).
_WORDS: tuple[str, ...] = ("authorization", "x-api-key", "cookie", "csrf", "sessionid", "password", "passwd", "secret", "token")
_WORDS += ("credential", "encryption_key", "access_key", "signature")
_NAME = rf"(?:{'|'.join(_WORDS)})\w{{0,30}}"
_QUOTE = r"\\?[\"']"
# An escaped, a double or a single quotation; one that is cut off counts as well.
_QUOTED = r"(?:\\\".*?(?:\\\"|\Z)|\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z))"
# What was taken out already is left alone.
_VALUE = r"(?!\[scrubbed\])"


class _Rule(NamedTuple):
    """A pattern, tried on texts that hold one of the needles (in lower case): most texts hold none, which is quick to see."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str


def _rule(needles: tuple[str, ...], pattern: str, replacement: str = GONE) -> _Rule:
    return _Rule(needles, re.compile(pattern, re.IGNORECASE), replacement)


_RULES = (
    # Values that give themselves away: credentials and tokens of ours, secrets of webhooks, Fernet texts, AWS access keys.
    _rule(("tg",), r"tg[a-z]_?[0-9a-z]{12,}"),
    _rule(("whsec_",), r"whsec_[0-9a-z+/=]{8,}"),
    _rule(("gaaaa",), r"gaaaa[0-9a-z_=-]{20,}"),
    _rule(("akia", "asia"), r"\b(?:akia|asia)[0-9a-z]{12,}"),
    # Links in mails: e-mail confirmation, password reset; and their keys standing alone.
    _rule(("confirm-email",), r"(confirm-email(?:/|%2f))[^/\s\"'?&<>%]+", rf"\1{GONE}"),
    _rule(("reset",), r"(reset(?:/|%2f)key(?:/|%2f))(?!done\b)[^/\s\"'?&<>%]+", rf"\1{GONE}"),
    _rule((":",), r"(?<![\w-])[\w-]{1,100}:[0-9a-z]{6}:[\w-]{27,}"),
    _rule(("-",), r"(?<![0-9a-z])[0-9a-z]{1,20}-[0-9a-z]{6,10}-[0-9a-f]{32}"),
    # user:password@ in URLs.
    _rule(("://",), r"://[^/\s\"'@]{0,300}@", f"://{GONE}@"),
    _rule(("aws4-",), r"aws4-hmac-sha256\b[^\n\"']*"),
    _rule(("bearer", "basic", "token"), r"\bbearer\s+[\w+/=.~-]{6,}|\b(?:basic|token)\s+[\w+/=.~-]{20,}"),
    # name: "text" in JSON, in a Python repr, in a pair; then the rest of a header's line; then name=word.
    _rule(_WORDS, rf"({_NAME}{_QUOTE}?\s*[:=,]\s*b?){_QUOTED}", rf"\1{GONE}"),
    _rule(("authorization", "cookie"), rf"((?:authorization|cookie)\s*[:=]\s*){_VALUE}[^\n\r]+", rf"\1{GONE}"),
    _rule(_WORDS, rf"({_NAME}\s*[:=]\s*){_VALUE}[^\s&,;\"'<>)}}\]]+", rf"\1{GONE}"),
)
_RUN = re.compile(r"[^\s\"'<>]+")


def scrub_text(text: str) -> str:
    """The text, cut at MAX_TEXT characters, without what looks like a secret."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}..."
    lowered = text.lower()
    for needles, pattern, replacement in _RULES:
        for needle in needles:
            if needle in lowered:
                text = pattern.sub(replacement, text)
                break
    return _RUN.sub(_without_query, text) if "?" in text else text


def _without_query(run: re.Match[str]) -> str:
    """A path or URL without what stands behind its question mark."""
    path, mark, query = run.group().partition("?")
    return f"{path}?{GONE}" if query and "/" in path else path + mark + query


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


@functools.lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return SECRET_NAMES.search(name.replace("-", "_")) is not None


def _scrub_field(name: str, value: Any, depth: int) -> Any:
    if value is not None and not isinstance(value, bool) and _names_a_secret(name):
        return GONE
    return scrub(value, depth + 1)


def _scrub_item(item: Any, depth: int) -> Any:
    """A pair whose first half is a secret's name is a header: ``("X-Api-Key", "...")``."""
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return [scrub_text(item[0]), _scrub_field(item[0], item[1], depth)]
    return scrub(item, depth + 1)


# Written by the processors before this one, whatever the caller passed.
_OURS = {"timestamp", "level"}


def scrub_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """The structlog processor."""
    return {name: value if name in _OURS else _scrub_field(name, value, 0) for name, value in event.items()}
