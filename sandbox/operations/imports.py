"""ImportApiKeys: many keys, enabled and attached to their usage plans, by one CSV.

An upsert by value: a row whose value exists overwrites that key's name, description and enabled, and keeps its id. Rows
that cannot be taken are warnings; ``failOnWarnings`` then imports nothing. Values shorter than the 30 characters that
the file format documents are refused, although CreateApiKey takes 20: what passes here passes on AWS (choice).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from sandbox import errors
from sandbox.errors import ApiError
from sandbox.model import UsagePlan
from sandbox.operations.keys import check_description, check_name, check_value
from sandbox.store import PLANS_PER_KEY, Store, clash_message
from sandbox.wire import Call, Json

IMPORT_VALUE_MIN = 30


@dataclass(slots=True)
class _Row:
    """A row that can be imported: where it stands, and what it asks for."""

    name: str
    value: str
    description: str
    enabled: bool
    plans: list[UsagePlan]


def import_keys(store: Store, call: Call) -> Json:
    """ImportApiKeys (``POST /apikeys?mode=import&format=csv``)."""
    if (call.parameter("mode") or "").lower() != "import":
        raise errors.bad_request("Invalid mode specified. Must be one of: [import]")
    if (call.parameter("format") or "").lower() != "csv":
        raise errors.bad_request("Invalid format specified. Must be one of: [csv]")
    warnings: list[str] = []
    rows = _check_rows(store, _records(call.body), warnings)
    if warnings and call.flag("failonwarnings"):
        raise errors.bad_request(f"Import failed on warnings: {'; '.join(warnings[:10])}")
    store.check_room(len({row.value for row in rows if row.value not in store.by_value}))
    ids = dict.fromkeys(_put(store, row) for row in rows)
    return {"ids": list(ids), "warnings": warnings}


def _records(body: bytes) -> list[dict[str, str]]:
    """Return the rows by lower-case column name, or raise 400 when it is not a file of keys."""
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), skipinitialspace=True, strict=True)
        table = [line for line in lines if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise errors.bad_request("Unable to parse the API key file as CSV") from error
    header = [cell.strip().lower() for cell in table[0]] if table else []
    if "name" not in header or "key" not in header:
        raise errors.bad_request("Invalid API key file: the header must name the columns Name and Key")
    return [{column: cell.strip() for column, cell in zip(header, line, strict=False)} for line in table[1:]]


def _check_rows(store: Store, records: list[dict[str, str]], warnings: list[str]) -> list[_Row]:
    """Return the rows to import; what is wrong with the others goes to ``warnings``. Nothing is changed."""
    rows: list[_Row] = []
    planned: dict[str, list[str]] = {}
    for number, record in enumerate(records, start=1):
        try:
            row = _read_row(record)
        except ApiError as error:
            warnings.append(f"Row {number} was not imported: {error.message}")
            continue
        existing = store.by_value.get(row.value)
        plan_ids = planned.setdefault(row.value, list(existing.plan_ids) if existing else [])
        for plan_id in _plan_ids(record):
            problem = _plan_problem(store, plan_id, plan_ids)
            if problem:
                warnings.append(f"Row {number}: {problem}")
            elif plan_id not in plan_ids:
                plan_ids.append(plan_id)
                row.plans.append(store.plans[plan_id])
        rows.append(row)
    return rows


def _read_row(record: dict[str, str]) -> _Row:
    value = record.get("key", "")
    if len(value) < IMPORT_VALUE_MIN:
        raise errors.bad_request(f"API Key value should be at least {IMPORT_VALUE_MIN} characters")
    return _Row(
        name=check_name(record.get("name", "")),
        value=check_value(value),
        description=check_description(record.get("description", "")),
        enabled=record.get("enabled", "").lower() in {"", "true"},
        plans=[],
    )


def _plan_ids(record: dict[str, str]) -> list[str]:
    return [plan_id.strip() for plan_id in record.get("usageplanids", "").split(",") if plan_id.strip()]


def _plan_problem(store: Store, plan_id: str, plan_ids: list[str]) -> str | None:
    """Say why a key that is in ``plan_ids`` cannot be in this plan too; being in it already is no problem."""
    plan = store.plans.get(plan_id)
    if plan is None:
        return f"Invalid Usage Plan ID specified: {plan_id}"
    other = store.clash(plan_ids, plan)
    if other is not None:
        return clash_message(plan, other)
    if plan_id not in plan_ids and len(plan_ids) >= PLANS_PER_KEY:
        return f"Usage Plans per API Key limit exceeded: at most {PLANS_PER_KEY}"
    return None


def _put(store: Store, row: _Row) -> str:
    key = store.by_value.get(row.value)
    if key is None:
        key = store.add_key(row.value, name=row.name, description=row.description, enabled=row.enabled)
    else:
        key.name, key.description, key.enabled = row.name, row.description, row.enabled
        store.touch_key(key)
    for plan in row.plans:
        store.attach(key, plan)
    return key.id
