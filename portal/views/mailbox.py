"""``/_mail/``: the mails that demo mode keeps in files, so that links in them can be followed without a mail server.

Mails are read as text only, whatever they contain. The page exists with DEMO=1 and the file backend; otherwise it is a 404.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import wraps
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
# Django's file backend writes this line after each mail; one file holds those of one connection.
SEPARATOR = b"\n" + b"-" * 79 + b"\n"
SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail as text. ``name`` is its place: the file's stem and the number in the file."""

    name: str
    at: datetime
    subject: str
    to: str
    text: str


def demo_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """404 unless mails are kept in files and DEMO is on: mails hold links that sign people in."""

    @wraps(view)
    def wrapped(request: HttpRequest, **kwargs: str) -> HttpResponse:
        if not (settings.DEMO and settings.EMAIL_BACKEND == FILE_BACKEND):
            raise Http404
        return view(request, **kwargs)

    return wrapped


@require_safe
@demo_only
def mail_list(request: HttpRequest) -> HttpResponse:
    """The newest mails."""
    return render(request, "portal/mailbox.html", {"mails": newest(SHOWN)})


@require_safe
@demo_only
def mail_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One mail. The name is looked for among the names that exist; it never becomes a path."""
    mail = next((mail for mail in mails() if mail.name == name), None)
    if mail is None:
        raise Http404
    return render(request, "portal/mailbox_mail.html", {"mail": mail})


def newest(count: int) -> list[Mail]:
    """At most ``count`` mails, the newest first."""
    found = []
    for mail in mails():
        found.append(mail)
        if len(found) == count:
            break
    return found


def mails() -> Iterator[Mail]:
    """All mails, the newest first."""
    folder = Path(settings.EMAIL_FILE_PATH)
    files = [path for path in folder.glob("*.log") if path.is_file() and not path.is_symlink()] if folder.is_dir() else []
    for path in sorted(files, key=lambda path: (path.stat().st_mtime, path.name), reverse=True):
        at = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
        parts = [part.lstrip(b"\n") for part in path.read_bytes().split(SEPARATOR)]
        numbered = [(number, part) for number, part in enumerate(parts) if part.strip()]
        for number, part in reversed(numbered):
            yield _mail(f"{path.stem}-{number}", at, part)


def _mail(name: str, at: datetime, content: bytes) -> Mail:
    message = message_from_bytes(content, policy=policy.default)
    body = message.get_body(preferencelist=("plain",)) if isinstance(message, EmailMessage) else None
    text = body.get_content() if body is not None else ""
    return Mail(name=name, at=at, subject=str(message["Subject"] or ""), to=str(message["To"] or ""), text=str(text))
