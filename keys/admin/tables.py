"""Tables below the staff's forms: on a phone each row is a card whose cells name themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True, kw_only=True)
class Column:
    """``numeric``: numbers stand under one another, at the right."""

    label: "StrOrPromise"
    numeric: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """For ``admin/keys/_table.html``; ``title``: empty where it stands in a panel that has one. The first cell of a row names the row."""

    columns: Sequence[Column]
    rows: Sequence[Sequence["StrOrPromise"]]
    title: "StrOrPromise" = ""

    @property
    def lines(self) -> list[list[tuple[Column, "StrOrPromise"]]]:
        """The cells of each row, each with its column."""
        return [list(zip(self.columns, row, strict=True)) for row in self.rows]


def columns(*labels: "StrOrPromise", numeric: Sequence["StrOrPromise"] = ()) -> list[Column]:
    """Columns of words, then columns of numbers."""
    return [*[Column(label=label) for label in labels], *[Column(label=label, numeric=True) for label in numeric]]
