"""The clients that other people wrote: installing them at pinned versions, and running them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass

from .common import CACHE, ROOT, Failure, need, output, run

PARTS = ROOT / "scripts" / "clients.d"
PYTHON_CACHE = CACHE / "clients" / "python"
NODE_CACHE = CACHE / "clients" / "node"

# What playwright-core asks for.
OLDEST_NODE = 20


@dataclass(frozen=True)
class Client:
    """A program that takes the server's HOST:PORT and process id, and prints its checks.

    It prints one line for each, `ok NAME` or `FAIL NAME why`. Its last check ends the server
    with SIGTERM, since a close by the server is among the things that are checked.
    CLIENT_DEFLATE says how the server compresses (its --deflate).
    """

    command: tuple


CLIENTS = {
    "websockets": Client((PYTHON_CACHE / "bin/python", PARTS / "websockets_client.py")),
    "aiohttp": Client((PYTHON_CACHE / "bin/python", PARTS / "aiohttp_client.py")),
    "ws": Client(("node", PARTS / "ws_client.mjs")),
    "chromium": Client(("node", PARTS / "chromium_client.mjs")),
}


def install(names):
    """Installs what the named clients need; quick when it is there already."""
    if {"websockets", "aiohttp"} & set(names):
        _install_python()
    if {"ws", "chromium"} & set(names):
        install_node(PARTS, NODE_CACHE)
    if "chromium" in names:
        if not shutil.which("chromium"):
            _install_packages("Chromium", "chromium")


def install_node(parts, cache):
    """Installs the node packages that the lock file in `parts` names into `cache`; quick when they are there already."""
    if not shutil.which("node"):
        _install_packages("node", "nodejs", "npm")
    major = output(["node", "--print", "process.versions.node.split('.')[0]"])
    if int(major) < OLDEST_NODE:
        raise Failure(f"node {OLDEST_NODE} or newer is needed; this is node {major}")
    lock = parts / "package-lock.json"
    # npm keeps no such copy in node_modules: this one is the mark of a finished installation.
    installed = cache / "node_modules" / lock.name
    if _same(installed, lock):
        return
    npm = need("npm", "to install the node packages; it comes with Node.js")
    _say(f"installing the node packages of {parts.name}")
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", lock.name, ".npmrc"):
        shutil.copy(parts / name, cache)
    run([npm, "ci", "--ignore-scripts", "--loglevel=error"], cache, stdout=subprocess.DEVNULL)
    shutil.copy(lock, installed)


def checks(client, server, scratch, limit_s, host=None, deflate="off"):
    """Runs a client; yields ("ok" or "FAIL", name, why) for each check that it makes.

    It connects to the server, or to `host`, a proxy before it.
    """
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "CLIENT_MODULES": str(NODE_CACHE),
        "CLIENT_SCRATCH": str(scratch),
        "CLIENT_DEFLATE": deflate,
    }
    # A session of its own, so that a browser's processes end with it.
    process = subprocess.Popen(
        [*client.command, host or server.host, str(server.pid)], text=True, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    )
    watchdog = threading.Timer(limit_s, _end_session, [process])
    watchdog.start()
    try:
        made = 0
        for line in process.stdout:
            verdict, _, rest = line.strip().partition(" ")
            if verdict in ("ok", "FAIL"):
                made += 1
                name, _, why = rest.partition(" ")
                yield verdict, name, why
            else:
                print(f"    {line}", end="", file=sys.stderr, flush=True)
        code = process.wait()
        if code != 0 or made == 0:
            yield "FAIL", "program", f"ended with {code} after {made} checks (limit {limit_s:.0f} s)"
    finally:
        watchdog.cancel()
        _end_session(process)


def _end_session(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _install_python():
    requirements = PARTS / "requirements.txt"
    installed = PYTHON_CACHE / requirements.name
    if _same(installed, requirements):
        return
    # Debian's python3 comes without what makes a virtual environment.
    if not output(["python3", "-c", "import ensurepip; print(ensurepip.version())"]):
        _install_packages("Python's venv", "python3-venv")
    _say("installing the Python clients")
    shutil.rmtree(PYTHON_CACHE, ignore_errors=True)
    run(["python3", "-m", "venv", PYTHON_CACHE])
    run([PYTHON_CACHE / "bin/pip", "install", "--quiet", "--requirement", requirements])
    shutil.copy(requirements, installed)


def _same(installed, wanted):
    return installed.exists() and installed.read_bytes() == wanted.read_bytes()


def _install_packages(what, *packages):
    """Installs Debian packages if this may install any."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failure(f"{what} is not installed (Debian: apt-get install {' '.join(packages)})")
    _say(f"installing the packages {' '.join(packages)}")
    run(["apt-get", "update", "-qq"])
    run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL,
    )


def _say(text):
    print(f"clients: {text}", file=sys.stderr, flush=True)
