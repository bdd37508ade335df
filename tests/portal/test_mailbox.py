"""The mailbox of demo mode."""

import os
from pathlib import Path

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection, send_mail
from django.test import Client

FILES = "django.core.mail.backends.filebased.EmailBackend"


@pytest.fixture
def mail_dir(settings, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]  # pytest-django's wrapper
    """Mails go into files of this test."""
    settings.DEMO = True
    settings.EMAIL_BACKEND = FILES
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    return tmp_path / "mail"


def test_mailbox_without_mail_says_what_to_do(client: Client, mail_dir: Path, db: None) -> None:
    answer = client.get("/_mail/")

    assert answer.status_code == 200
    assert "No mail yet" in answer.text


def test_mailbox_lists_the_newest_first(client: Client, mail_dir: Path, db: None) -> None:
    for number, subject in enumerate(["First", "Second", "Third"]):
        send_mail(subject, "text", None, ["alice@example.com"])
        (path,) = [path for path in mail_dir.iterdir() if path.stat().st_mtime > 1_000_000_000]
        os.utime(path, (number + 1, number + 1))

    subjects = [mail.subject for mail in client.get("/_mail/").context["mails"]]

    assert subjects == ["Third", "Second", "First"]


def test_mails_of_one_connection_are_told_apart(client: Client, mail_dir: Path, db: None) -> None:
    connection = get_connection()
    connection.send_messages([EmailMessage(f"Mail {number}", f"text {number}", None, ["a@example.com"]) for number in (1, 2)])

    mails = client.get("/_mail/").context["mails"]

    assert [(mail.subject, mail.text.strip()) for mail in mails] == [("Mail 2", "text 2"), ("Mail 1", "text 1")]


def test_mail_shows_subject_recipient_and_links(client: Client, mail_dir: Path, db: None) -> None:
    send_mail("Grüße — confirm", "Open http://localhost:8000/accounts/confirm-email/MQ:x:y/ now", None, ["alice@example.com"])
    (mail,) = client.get("/_mail/").context["mails"]

    answer = client.get(f"/_mail/{mail.name}/")

    assert "Grüße — confirm" in answer.text
    assert "alice@example.com" in answer.text
    assert 'href="http://localhost:8000/accounts/confirm-email/MQ:x:y/"' in answer.text


def test_mail_is_shown_as_text_alone(client: Client, mail_dir: Path, db: None) -> None:
    message = EmailMultiAlternatives("<script>alert(1)</script>", "<b>bold</b> javascript:alert(1)", None, ["a@example.com"])
    message.attach_alternative("<img src=x onerror=alert(2)>", "text/html")
    message.send()
    (mail,) = client.get("/_mail/").context["mails"]

    text = client.get(f"/_mail/{mail.name}/").text

    assert "<script>alert(1)" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert "onerror" not in text
    assert 'href="javascript' not in text


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "..", "passwd-0", "secret-0", "link-0"])
def test_mailbox_reads_nothing_but_mails(client: Client, mail_dir: Path, tmp_path: Path, db: None, name: str) -> None:
    mail_dir.mkdir()
    (tmp_path / "secret.log").write_text("Subject: secret\n\nsecret")
    (mail_dir / "passwd").write_text("Subject: x\n\nx")
    (mail_dir / "link.log").symlink_to(tmp_path / "secret.log")

    assert client.get(f"/_mail/{name}/").status_code == 404


@pytest.mark.parametrize(("demo", "backend"), [(False, FILES), (True, "django.core.mail.backends.smtp.EmailBackend")])
def test_mailbox_exists_in_demo_mode_alone(client: Client, mail_dir: Path, settings, db: None, demo: bool, backend: str) -> None:  # type: ignore[no-untyped-def]
    send_mail("Subject", "text", None, ["alice@example.com"])
    (name,) = [path.stem for path in mail_dir.iterdir()]
    settings.DEMO, settings.EMAIL_BACKEND = demo, backend

    assert client.get("/_mail/").status_code == 404
    assert client.get(f"/_mail/{name}-0/").status_code == 404


def test_mail_keeps_its_lines(client: Client, mail_dir: Path, db: None) -> None:
    send_mail("Lines", "One\n\nTwo\n\n--\nTollgate", None, ["alice@example.com"])
    (mail,) = client.get("/_mail/").context["mails"]

    assert '<div class="mail-text">One\n\nTwo\n\n--\nTollgate' in client.get(f"/_mail/{mail.name}/").text
