"""CSV files: what an import of API keys reads, what exports and imports write. Pure, except for the file it opens.

RFC 4180, UTF-8. Spreadsheets run a cell that begins like a formula, so such cells get an apostrophe in front when they are written, and
lose it when they are read: what was written comes back as it was.
"""

import csv
import errno
import io
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

COLUMNS = ("tier", "name", "description", "reference")
REQUIRED = ("tier", "name")
LONGEST_REFERENCE = 100
# What begins a formula in Excel, LibreOffice, Google Sheets or Numbers, full-width forms too.
FORMULA_STARTS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One purchase. ``number``: the line of the file on which it begins, counted from 1."""

    number: int
    tier: str
    name: str
    description: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong on one line, and how to mend it."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class UnreadableSheet(Exception):
    """A file that cannot be taken; ``problems`` says why, line by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)


def read(content: bytes) -> list[Line]:
    """The purchases in a file. Empty lines are left out. Raises UnreadableSheet with everything that is wrong with its form."""
    found, problems = _rows(content, COLUMNS, REQUIRED)
    lines = [_line(number, values) for number, values in found]
    problems += _repeated_references(lines)
    if problems:
        raise UnreadableSheet(problems)
    return lines


def rows(content: bytes, columns: Sequence[str], required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The lines of a file with a header that names some of ``columns``, all ``required`` among them: each with its number and its cells
    by column. Empty lines are left out. Raises UnreadableSheet with everything that is wrong with its form."""
    found, problems = _rows(content, columns, required)
    if problems:
        raise UnreadableSheet(problems)
    return found


def _rows(content: bytes, known: Sequence[str], required: Sequence[str]) -> tuple[list[tuple[int, dict[str, str]]], list[Problem]]:
    """The lines that can be read, and what is wrong with the others. Raises UnreadableSheet where none can be."""
    reader = csv.reader(io.StringIO(_decoded(content), newline=""), strict=True)
    found: list[tuple[int, dict[str, str]]] = []
    problems: list[Problem] = []
    columns: list[str] | None = None
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problems.append(Problem(line=number, text=f"{error}. Put quotes around cells with commas, and double the quotes in them."))
            break
        if cells is None:
            break
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = _columns(cells, number, known, required)
        elif len(cells) != len(columns):
            text = f"{len(cells)} cells, and the header has {len(columns)}. Put quotes around a cell that holds a comma."
            problems.append(Problem(line=number, text=text))
        else:
            found.append((number, dict(zip(columns, (restored(cell) for cell in cells), strict=True))))
    if columns is None and not problems:
        problems.append(Problem(line=1, text=f"the file is empty. Its first line has to be: {','.join(known[:3])}"))
    return found, problems


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise UnreadableSheet([Problem(line=number, text="not UTF-8. Save the file as “CSV UTF-8”.")]) from error


def _columns(cells: Sequence[str], number: int, known: Sequence[str], required: Sequence[str]) -> list[str]:
    """The header. Raises UnreadableSheet: without it no line can be read."""
    columns = [cell.strip().lower() for cell in cells]
    wanted = f"The columns are {', '.join(known)}, separated by commas"
    unknown = [column for column in columns if column not in known]
    missing = [column for column in required if column not in columns]
    if unknown:
        shown = ", ".join(f"“{printable(column)}”" for column in unknown)
        raise UnreadableSheet([Problem(line=number, text=f"unknown column {shown}. {wanted}; take out the others.")])
    if missing:
        raise UnreadableSheet([Problem(line=number, text=f"the header has no column {' and no '.join(missing)}. {wanted}.")])
    if len(set(columns)) < len(columns):
        raise UnreadableSheet([Problem(line=number, text="a column is there twice. Take one of them out.")])
    return columns


def _line(number: int, values: dict[str, str]) -> Line:
    return Line(
        number=number,
        tier=values["tier"].strip(),
        name=values["name"],
        description=values.get("description", ""),
        reference=values.get("reference", "").strip(),
    )


def _repeated_references(lines: Sequence[Line]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for line in lines:
        if not line.reference:
            continue
        if len(line.reference) > LONGEST_REFERENCE or "\0" in line.reference:
            yield Problem(line=line.number, text=f"reference: at most {LONGEST_REFERENCE} characters, and no NUL.")
        elif line.reference in seen:
            text = f"the reference “{printable(line.reference)}” is that of line {seen[line.reference]}. Give each line one of its own."
            yield Problem(line=line.number, text=text)
        else:
            seen[line.reference] = line.number


def neutral(text: str) -> str:
    """``text`` as no spreadsheet takes it for a formula."""
    return f"'{text}" if _is_risky(text) else text


def restored(text: str) -> str:
    """What ``neutral`` was given."""
    return text[1:] if text.startswith("'") and _is_risky(text[1:]) else text


def _is_risky(text: str) -> bool:
    """Whether it may begin a formula. What is skipped before the sign includes apostrophes, so that ``restored`` undoes ``neutral``."""
    for character in text:
        if character in FORMULA_STARTS or character in "\t\r\n":
            return True
        if not (character in "'\"" or character.isspace() or unicodedata.category(character) in {"Cc", "Cf"}):
            return False
    return False


def printable(text: str) -> str:
    """Text of somebody else's file, as it can be shown on a terminal: no control characters, and not long."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


class Writer:
    """Writes rows of named cells, neutralised."""

    def __init__(self, file: Any, columns: Sequence[str]) -> None:
        self._writer = csv.writer(file)
        self._columns = columns
        self._writer.writerow(columns)

    def write(self, row: dict[str, object]) -> None:
        """One row; cells that no column names are left out, None is written as nothing."""
        self._writer.writerow(["" if (cell := row.get(column)) is None else neutral(str(cell)) for column in self._columns])


@contextmanager
def private_file(path: Path) -> Iterator[TextIO]:
    """A text file that only its owner may read (0600), emptied if it was there.

    Raises OSError, also for what is no ordinary file: a symbolic link, a pipe, or a device, whose mode is not ours to change.
    """
    # Without O_NONBLOCK a pipe that nobody reads would be waited for.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file")
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        yield file
