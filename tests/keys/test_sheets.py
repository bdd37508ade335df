import csv
import io
import os
import stat
from pathlib import Path

import pytest

from keys import sheets

PAYLOADS = [
    "=1+1", "=cmd|' /C calc'!A0", "=HYPERLINK(\"http://evil.example\",\"x\")", "=IMPORTXML(\"http://evil.example\")", "=@SUM(1)",
    "+1+1", "+cmd|' /C calc'!A0", "+49 89 1234", "-1+1", "-2+3+cmd|' /C calc'!D2", "-5", "@SUM(1+1)", "@import",
    "\t=1+1", "\r=1+1", "\n=1+1", "\tx", "\rx", "\nx", " =1+1", "   +1", "\u00a0=1+1", "\u200b=1+1", "\ufeff=1+1", "\u3000@x",
    "\x00=1+1", "\x0b=1", "\x1f-1", "'=1+1", "''=1+1", "'+1", "' =1+1", "\"=1+1", "\"'=1+1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x",
    "=1+1;2", "=\n1", "==1", "=-1", "\u2028=1", "\u202e=1",
]  # fmt: skip
HARMLESS = [
    "Shop",
    "a=b",
    "1+1",
    "me@example.com",
    "it's",
    "'quoted'",
    "2-1",
    "#1",
    "a, b",
    'say "hi"',
    "two\nlines",
    "ünïcödé",
    "日本",
    "",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_formula_is_written_as_text_and_read_as_it_was(payload: str) -> None:
    written = sheets.neutral(payload)

    assert written == f"'{payload}"
    assert sheets.restored(written) == payload


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert sheets.neutral(text) == sheets.restored(text) == text


def test_there_are_payloads_enough() -> None:
    assert len(set(PAYLOADS)) >= 30


@pytest.mark.parametrize("name", [*PAYLOADS, *[text for text in HARMLESS if text], "a\r\nb", " lead and trail ", 'x"",\n"'])
def test_name_comes_back_through_a_file(name: str) -> None:
    file = io.StringIO(newline="")
    writer = sheets.Writer(file, ["tier", "name", "description"])
    writer.write({"tier": "free", "name": name, "description": name, "id": "left out"})

    [line] = sheets.read(file.getvalue().encode())

    assert (line.tier, line.name, line.description) == ("free", name, name)


def test_no_cell_of_a_written_file_begins_like_a_formula() -> None:
    file = io.StringIO(newline="")
    writer = sheets.Writer(file, ["name"])
    for payload in PAYLOADS:
        writer.write({"name": payload})

    cells = [row[0] for row in csv.reader(io.StringIO(file.getvalue(), newline=""))][1:]
    assert len(cells) == len(PAYLOADS)
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\n"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_numbered_as_an_editor_does(mark: bytes, end: str) -> None:
    text = end.join(["Tier , name,reference", "", "free,One,a", 'free,"two' + end + 'lines",b', "free,Three,", ",,"])

    lines = sheets.read(mark + text.encode())

    assert [(line.number, line.name, line.reference) for line in lines] == [
        (3, "One", "a"),
        (4, f"two{end}lines", "b"),
        (6, "Three", ""),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: the file is empty. Its first line has to be: tier,name,description"),
        (b"\n\n", "line 1: the file is empty"),
        (b"free,Shop,\n", "line 1: unknown column .free., .shop., .."),
        (b"tier,name,price\nfree,Shop,1\n", "line 1: unknown column .price.. The columns are tier, name, description, reference"),
        (b"tier;name\nfree;Shop\n", "line 1: unknown column .tier;name.*separated by commas"),
        (b"tier,description\nfree,x\n", "line 1: the header has no column name"),
        (b"description\nx\n", "no column tier and no name"),
        (b"tier,name,name\nfree,a,b\n", "line 1: a column is there twice"),
        (b"tier,name\nfree,Shop\nfree,a,b\n", "line 3: 3 cells, and the header has 2. Put quotes"),
        (b"tier,name\nfree\n", "line 2: 1 cells"),
        (b'tier,name\nfree,"Shop\n', "line 2: unexpected end of data"),
        (b'tier,name\nfree,"a"b\n', "line 2: .*Put quotes around"),
        (b"tier,name\nfree,Caf\xe9\n", "line 2: not UTF-8"),
        ("tier,name\nfree,Shop\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"tier,name,reference\nfree,a,x\nfree,b,y\nfree,c,x\n", "line 4: the reference .x. is that of line 2"),
        (b"tier,name,reference\nfree,a," + b"x" * 101, "line 2: reference: at most 100"),
        (b"tier,name\nfree," + b"x" * 200_000, "line 2: field larger"),
    ],
)
def test_unreadable_file_is_refused_with_line_and_remedy(content: bytes, problem: str) -> None:
    with pytest.raises(sheets.UnreadableSheet, match=problem):
        sheets.read(content)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(sheets.UnreadableSheet) as refusal:
        sheets.read(b"tier,name\nfree\nfree,a,b\nfree,Shop\nfree,,\n")

    assert [problem.line for problem in refusal.value.problems] == [2, 3, 5]


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    with pytest.raises(sheets.UnreadableSheet) as refusal:
        sheets.read(b"tier,name,\x1b[31mred\nfree,a,b\n")

    assert "\x1b" not in str(refusal.value)


def test_private_file_is_private_even_where_one_stood_open(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("old content that is longer")
    path.chmod(0o644)

    with sheets.private_file(path) as file:
        file.write("new")

    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_private_file_follows_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)

    with pytest.raises(OSError, match="link"), sheets.private_file(tmp_path / "link"):
        pass

    assert target.read_text() == "precious"
    assert (tmp_path / "link").is_symlink()


def test_private_file_is_an_ordinary_one(tmp_path: Path) -> None:
    """A device's mode stays as it is, and a pipe that nobody reads is not waited for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    with pytest.raises(OSError), sheets.private_file(pipe):  # noqa: PT011 - the system's own words
        pass
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="not an ordinary file"), sheets.private_file(pipe):
            pass
    finally:
        os.close(reader)
    assert stat.S_IMODE(pipe.stat().st_mode) == 0o644
