"""Tollgate's project package. Importing it makes the Celery app the current one, in web processes and workers alike."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
