"""``python -m sandbox``: start the sandbox. Exit codes: 0 stopped by a signal, 2 wrong arguments or no free port."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sandbox import access_log, admin
from sandbox.access_log import AccessLog
from sandbox.app import DEFAULT_APIS
from sandbox.server import Connection, sweep
from sandbox.settings import Settings
from sandbox.worlds import Worlds


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, serve until told to stop, return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="sandbox: %(message)s")
    try:
        worlds = _worlds(options)
    except (ValueError, OSError) as error:
        _say(str(error), error=True)
        return 2
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serve(worlds, options.host, options.port, stop_on_eof=options.stop_on_eof))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's; without it, None: the loop of the standard library does as well, only slower."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


async def serve(worlds: Worlds, host: str, port: int, *, stop_on_eof: bool = False) -> int:
    """Serve until SIGTERM or SIGINT (or, if asked for, the end of standard input); return the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    connections: set[Connection] = set()
    try:
        server = await loop.create_server(lambda: Connection(worlds, connections), host, port, backlog=1024)
    except OSError as error:
        _say(f"cannot listen on {host}:{port}: {error.strerror}. Is another sandbox running? Try --port.", error=True)
        return 2
    address = server.sockets[0].getsockname()
    name = f"[{address[0]}]" if ":" in address[0] else address[0]
    _say(f"a stand-in for Amazon API Gateway, for development only, at http://{name}:{address[1]}")
    jobs = [asyncio.create_task(sweep(connections)), asyncio.create_task(_flush(worlds))]
    if stop_on_eof:
        jobs.append(asyncio.create_task(_wait_for_eof(stop)))
    await stop.wait()
    server.close()
    for connection in list(connections):
        connection.close()
    for job in jobs:
        job.cancel()
    worlds.log.flush()
    return 0


async def _flush(worlds: Worlds) -> None:
    while True:
        await asyncio.sleep(access_log.FLUSH_SECONDS)
        if isinstance(worlds.log, AccessLog):
            worlds.log.flush_soon()


async def _wait_for_eof(stop: asyncio.Event) -> None:
    """Stop when whoever started us is gone: a pipe on standard input closes with its last writer."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with suppress(OSError):
        while await reader.read(1024):
            pass
    stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A stand-in for Amazon API Gateway, for development only.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=int, default=4510, help="port, 0 for any free one (default: %(default)s)")
    add("--log-dir", type=Path, help="directory for access-log objects (default: no log)")
    add("--api", type=_api, action="append", metavar="ID:STAGE", help="a REST API and stage (default: groceries:v1)")
    add(
        "--world",
        action="append",
        default=[],
        metavar="ACCOUNT:REGION[=ID:STAGE,...]",
        help="another account and Region, with its APIs (default: api-ACCOUNT-REGION:v1); see docs/sandbox.md",
    )
    add("--role", type=_json_object, action="append", default=[], metavar="JSON", help="as POST /_sandbox/roles takes it")
    add("--aws-limits", action="store_true", help="answer 429 and 409 at the rates of an AWS account")
    add("--key-cap", type=int, default=10_000, metavar="N", help="most keys it holds (default: %(default)s)")
    add("--latency", type=float, default=0.0, metavar="MS", help="milliseconds added to control-plane answers")
    add("--propagation-delay", type=float, default=0.0, metavar="S", help="seconds until the data plane sees changes")
    add("--usage-lag", type=float, default=0.0, metavar="S", help="seconds that GetUsage is late")
    add(
        "--account-rate",
        type=float,
        default=10_000.0,
        metavar="R",
        help="data plane, all keys: requests a second, 0: any",
    )
    add("--account-burst", type=int, default=5_000, metavar="N", help="data plane, all keys: at once")
    add("--fault", type=_json_object, action="append", default=[], metavar="JSON", help="as POST /_sandbox/faults takes it")
    add("--stop-on-eof", action="store_true", help="stop when standard input ends")
    return parser


def _worlds(options: argparse.Namespace) -> Worlds:
    """Return what the command line asks for, or raise ValueError or OSError."""
    if options.log_dir:
        options.log_dir.mkdir(parents=True, exist_ok=True)
    log = AccessLog(options.log_dir) if options.log_dir else None
    worlds = Worlds(_settings(options), apis=options.api or DEFAULT_APIS, log=log)
    for text in options.world:
        name, _, apis = text.partition("=")
        worlds.add(name, [admin.read_api(api) for api in apis.split(",") if api])
    for role in options.role:
        worlds.identities.describe_role(role)
    worlds.keep()
    for fault in options.fault:
        worlds.default.faults.add(fault)
    return worlds


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings()
    names = ("aws_limits", "key_cap", "propagation_delay", "usage_lag", "account_rate", "account_burst")
    settings.change({name: getattr(options, name) for name in names} | {"latency": options.latency / 1000})
    return settings


def _api(text: str) -> tuple[str, str]:
    try:
        return admin.read_api(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _json_object(text: str) -> dict[str, object]:
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError("a JSON object")
    return options


def _say(text: str, *, error: bool = False) -> None:
    print(f"sandbox: {text}", file=sys.stderr if error else sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
