"""Running one function in several processes at once, each with a database connection of its own."""

import multiprocessing
import traceback
from collections.abc import Callable
from typing import Any

from django.db import connections

_fork = multiprocessing.get_context("fork")


def at_once(work: Callable[[int], Any], processes: int = 8) -> list[Any]:
    """Call ``work(0)`` to ``work(processes - 1)`` in processes that start together; what they returned. A failure is raised here."""
    connections.close_all()
    barrier, results = _fork.Barrier(processes), _fork.SimpleQueue()
    children = [_fork.Process(target=_child, args=(work, number, barrier, results)) for number in range(processes)]
    for child in children:
        child.start()
    answers = [results.get() for _child_process in children]
    for child in children:
        child.join(60)
    failures = [trace for _number, _answer, trace in answers if trace]
    assert not failures, failures[0]
    return [answer for _number, answer, _trace in sorted(answers, key=lambda answer: answer[0])]


def _child(work: Callable[[int], Any], number: int, barrier: Any, results: Any) -> None:
    connections.close_all()
    try:
        barrier.wait(30)
        results.put((number, work(number), ""))
    except BaseException:  # noqa: BLE001 - whatever it was, the parent raises it
        results.put((number, None, traceback.format_exc()))
    finally:
        connections.close_all()
