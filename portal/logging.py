"""Structured logs. One stream for our own events and those of every library: the same fields, the same scrubbing.

``LOG_FORMAT=json`` writes one JSON object a line (production), ``console`` one readable line (laptop). A request's id is bound by
``portal.middleware.RequestLogMiddleware`` and carried into its Celery tasks by django-structlog.
"""

import logging.config
import sys
from typing import Any

import structlog
from celery.signals import setup_logging
from structlog.types import Processor

from portal.scrubbing import scrub_event

# For events of structlog and of the standard library alike.
_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# One line a request is ours. botocore and the database layer would write credentials and SQL at DEBUG.
_QUIET = {
    "django.request": "ERROR",
    "django.security.DisallowedHost": "CRITICAL",  # whoever scans the Internet would fill the log with tracebacks
    "django.server": "WARNING",
    "django.db.backends": "INFO",
    "django.template": "INFO",
    "botocore": "INFO",
    "botocore.credentials": "CRITICAL",  # a role that cannot be taken on is an error of ours in one line, not a traceback a heartbeat
    "urllib3": "INFO",
    "amqp": "INFO",
    "kombu": "INFO",
    "asyncio": "INFO",
}


def _rendering(renderer: str) -> list[Processor]:
    last: Processor
    if renderer == "json":
        last = structlog.processors.JSONRenderer(sort_keys=True)
    else:
        plain = structlog.dev.plain_traceback
        last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain, sort_keys=False)
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        # Tracebacks become text before the scrubbing, and never carry local variables.
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        scrub_event,
        last,
    ]


def logging_settings(*, level: str, renderer: str) -> dict[str, Any]:
    """Django's LOGGING for a level and a renderer (``json`` or ``console``). Sets structlog itself up as well."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    formatter = {"()": structlog.stdlib.ProcessorFormatter, "processors": _rendering(renderer), "foreign_pre_chain": _SHARED}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers, among them mails with whole requests in them, are taken away.
            "django": {"handlers": [], "propagate": True},
            **{name: {"handlers": [], "level": max(own, level, key=_severity), "propagate": True} for name, own in _QUIET.items()},
        },
    }


def _severity(level: str) -> int:
    return logging.getLevelNamesMapping()[level]


@setup_logging.connect(weak=False)
def keep_our_logging(**kwargs: object) -> None:
    """Workers and beat log like the web processes. Without a receiver Celery would replace the handlers by its own."""
    from django.conf import settings  # settings import this module

    logging.config.dictConfig(settings.LOGGING)
