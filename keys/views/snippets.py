"""Programs to paste, with the API key's real URL: each retries what was throttled, and gives up when the quota is used up."""

import json
import shlex
from dataclasses import dataclass

from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

PLACEHOLDER = "YOUR_KEY"
# Slug and title of each language; its template is keys/snippets/<slug>.txt.
LANGUAGES = [("curl", "curl"), ("python", "Python"), ("javascript", "JavaScript"), ("go", "Go")]


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One tab of ``_components/code_tabs.html``."""

    slug: str
    title: str
    text: str


def snippets(url: str, credential: str | None = None) -> list[Snippet]:
    """Four programs that call ``url``; with a placeholder where no credential is given."""
    key = credential or PLACEHOLDER
    return [Snippet(slug=slug, title=title, text=_program(slug, url, key)) for slug, title in LANGUAGES]


def _program(slug: str, url: str, key: str) -> str:
    rendered = render_to_string(f"keys/snippets/{slug}.txt", _quoted(slug, url, key))
    # What a template renders counts as HTML; adding a plain string makes it plain text again, which the page escapes.
    return rendered + ""


def _quoted(slug: str, url: str, key: str) -> dict[str, str]:
    """Both as string literals of the language. JSON's are those of Python, JavaScript and Go as well."""
    quote = shlex.quote if slug == "curl" else json.dumps
    return {name: mark_safe(quote(value)) for name, value in (("url", url), ("key", key))}  # noqa: S308 - program text; the page escapes it whole
