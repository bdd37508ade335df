"""``make run``: the whole product on one machine under one Ctrl-C.

Starts the sandbox, the web server, the Celery worker and beat as processes of their own, with the same settings, tasks and
boto3 code as in production; only the parts are embedded. Restarts what dies and takes all children along when it ends, even
when it is killed.
"""
