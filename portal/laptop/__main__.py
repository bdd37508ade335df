"""``python -m portal.laptop``. Exit codes: 0 stopped by Ctrl-C or a signal, 1 a part did not come up, 2 something must be changed."""

import sys

from django.core.exceptions import ImproperlyConfigured

from portal import demo
from portal.laptop import configuration
from portal.laptop.children import Child
from portal.laptop.configuration import ROOT, Configuration, UnableToStart
from portal.laptop.supervisor import Stopped, Supervisor, UnableToRun

WEB_THREADS = 8
# One for webhooks: a worker process has one pass of deliveries at most, and that one has threads of its own for receivers that let it wait
# (tenants.webhooks.deliver). Two for gateways, but for moments in which one calls canaries, which has threads of its own too. A second
# worker would cost as much memory as this whole one.
WORKER_THREADS = 3


def main() -> int:
    """Run everything until somebody stops it; returns the exit code."""
    try:
        settings = configuration.read()
        configuration.check_ports(settings)
        with configuration.lock(settings.data_dir):
            return _supervise(settings)
    except (ImproperlyConfigured, UnableToStart) as error:
        print(f"Tollgate cannot start. {error}", file=sys.stderr)  # noqa: T201 - a command's words to its user
        return 2


def _supervise(settings: Configuration) -> int:
    environment = configuration.children_environment(settings)
    configuration.check_settings(environment)
    with Supervisor() as supervisor:
        try:
            _start(supervisor, settings, environment)
            supervisor.say(_banner(settings))
            supervisor.run()
        except Stopped:
            supervisor.say("\nStopping.")
            return 0
        except UnableToRun as error:
            supervisor.say(f"Tollgate does not come up. {error} What it printed stands above.")
            return 1


def _start(supervisor: Supervisor, settings: Configuration, environment: dict[str, str]) -> None:
    def child(name: str, *command: str) -> Child:
        return Child(name, [sys.executable, "-m", *command], environment=environment, folder=ROOT)

    ready = [f"http://127.0.0.1:{settings.port}/healthz"]
    supervisor.say("Starting Tollgate ...")
    if not settings.aws:
        log = str(settings.data_dir / "access-logs")
        supervisor.start(child("sandbox", "sandbox", "--port", str(settings.sandbox_port), "--log-dir", log))
        ready.append(f"{settings.sandbox_url}/_sandbox/state")
    # Beside the setup: the web server asks the database nothing until somebody opens a page.
    supervisor.start(child("web", "granian", *_web(settings)))
    supervisor.finish(child("setup", "portal.laptop.prepare"))
    celery = ("celery", "-q", "--skip-checks", "-A", "portal")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    supervisor.start(child("worker", *celery, "worker", "-Q", "sync,webhooks", "-P", "threads", "-c", str(WORKER_THREADS), *quiet))
    supervisor.start(child("beat", *celery, "beat"))
    supervisor.wait_until_ready(ready)


def _web(settings: Configuration) -> list[str]:
    """The web server: WSGI, one process (the rate limits count in its memory), several threads, loopback only."""
    options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(settings.port), "--no-ws"]
    limits = ["--workers", "1", "--blocking-threads", str(WEB_THREADS), "--workers-kill-timeout", "3"]
    return [*options, *limits, "--log-level", "error", "portal.wsgi:application"]


def _banner(settings: Configuration) -> str:
    url = settings.portal_url
    gateway = "Amazon API Gateway, as the environment says" if settings.aws else f"the sandbox at {settings.sandbox_url}"
    return f"""
  Tollgate is ready: {url}

  Accounts   {demo.OWNER_EMAIL}   owns a tenant
             {demo.VIEWER_EMAIL}  may only look
             {demo.STAFF_EMAIL}   runs the portal: {url}/staff/
  Password   {demo.PASSWORD}

  1. Sign in, or sign up at {url}/accounts/signup/ - its mail arrives at {url}/_mail/
  2. Compare the tiers and buy a key: {url}/tiers/
  3. Send a burst and watch 200 turn into 429: {url}/console/
  4. Let scripts do all of it: make a token at {url}/settings/tokens/, read {url}/api/docs

  Keys are kept in {gateway}. Data: {settings.data_dir}. Ctrl-C ends everything.
"""


if __name__ == "__main__":
    sys.exit(main())
