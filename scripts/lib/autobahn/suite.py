"""Autobahn's test suite: where it is found, how it is installed, and its command lines.

It runs on Python 2.7 only. With one, it is installed under `.cache/autobahn`; without one, its
Docker image is used.
"""

import glob
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ..common import CACHE, ROOT, Failure, output, run

NAME = "autobahntestsuite 25.10.1"
IMAGE = "crossbario/autobahn-testsuite:25.10.1"

PARTS = ROOT / "scripts" / "autobahn.d"
TOOLS = CACHE / "autobahn" / "tools"
PYTHON = CACHE / "autobahn" / "python"

CLIENT, SERVER = "fuzzingclient", "fuzzingserver"

# How many messages each case of sections 12 and 13 sends, as the suite comes.
MESSAGES = 1000

# Runs the suite with fewer.
FEWER_MESSAGES = PARTS / "fewer_messages.py"

MISSING = (
    "Autobahn's test suite runs on Python 2.7 only, and none was found: neither on the PATH nor among"
    " pyenv's (pyenv install 2.7.18). Without it the suite's Docker image is used, but"
)


@dataclass(frozen=True)
class Native:
    """Installed for a Python 2.7 of this machine."""

    python: Path
    # The fuzzing server listens on every address: it needs a network namespace of its own.
    isolated = False

    def command(self, mode, folder, _port=None, messages=MESSAGES):
        """The command line for the specification in `folder`; cases about compression send so many messages."""
        programs = self.python / "bin"
        wstest = [str(programs / "wstest")]
        if messages != MESSAGES:
            wstest = [str(programs / "python"), "-B", str(FEWER_MESSAGES), str(messages)]
        return [*wstest, *_arguments(mode, folder)]


@dataclass(frozen=True)
class Docker:
    """The suite's own image."""

    docker: str
    isolated = True

    def command(self, mode, folder, port=None, messages=MESSAGES):
        """As in `Native`. A fuzzing server is reached at 127.0.0.1:`port`; a fuzzing client reaches
        the servers of this machine."""
        network = ["--publish", f"127.0.0.1:{port}:{port}"] if mode == SERVER else ["--network", "host"]
        wstest = ["wstest"]
        if messages != MESSAGES:
            # By the interpreter that the program itself names.
            interpreter = 'exec $(sed -n "1s/^#!//p" "$(command -v wstest)") "$@"'
            wstest = ["sh", "-c", interpreter, "sh", str(FEWER_MESSAGES), str(messages)]
        return [
            self.docker, "run", "--rm", "--init", *network,
            "--user", f"{os.getuid()}:{os.getgid()}", "--env", "HOME=/tmp",
            "--volume", f"{folder}:{folder}",
            "--volume", f"{FEWER_MESSAGES}:{FEWER_MESSAGES}:ro",
            IMAGE, *wstest, *_arguments(mode, folder),
        ]


def _arguments(mode, folder):
    # No web server for the reports.
    return ["--mode", mode, "--spec", str(folder / "spec.json"), "--webport", "0"]


def write_specification(folder, cases, **target):
    """What to run, and where: `servers` for a fuzzing client, `url` for a fuzzing server."""
    specification = {
        "outdir": str(folder / "report"),
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
        **target,
    }
    (folder / "spec.json").write_text(json.dumps(specification))
    return folder / "report"


def find():
    """The suite, installed if need be."""
    python = find_python()
    if python:
        _install(python)
        return Native(PYTHON)
    docker = shutil.which("docker")
    if not docker:
        raise Failure(f"{MISSING} docker is not installed either")
    if not output([docker, "info", "--format", "{{.ServerVersion}}"]):
        raise Failure(f"{MISSING} `docker info` does not work here: is its daemon running?")
    return Docker(docker)


def find_python():
    """The path of a Python 2.7, or None."""
    for candidate in _candidates():
        # Asked, since a shim of pyenv may stand for a version that is not chosen.
        asked = output([candidate, "-c", "import sys; print('%d.%d %s' % (sys.version_info[:2] + (sys.executable,)))"])
        version, _, path = asked.partition(" ")
        if version == "2.7":
            return path
    return None


def _candidates():
    on_path = (shutil.which(name) for name in ("python2.7", "python2", "python"))
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    return [*filter(None, on_path), *sorted(glob.glob(f"{pyenv}/versions/2.7*/bin/python2.7"))]


def _install(python):
    """Installs the suite for this Python; quick when it is there already."""
    wanted, installed = PARTS / "suite.txt", PYTHON / "suite.txt"
    if installed.exists() and installed.read_bytes() == wanted.read_bytes():
        return
    print("autobahn: installing the test suite", file=sys.stderr, flush=True)
    for folder in (TOOLS, PYTHON):
        shutil.rmtree(folder, ignore_errors=True)
    run(["python3", "-m", "venv", TOOLS])
    run([TOOLS / "bin/pip", "install", "--quiet", "--requirement", PARTS / "tools.txt"])
    run([TOOLS / "bin/virtualenv", "--quiet", "--python", python, PYTHON])
    quiet = ["--quiet", "--no-python-version-warning"]
    run([PYTHON / "bin/pip", "install", *quiet, "--requirement", wanted])
    # The mark of a finished installation.
    shutil.copy(wanted, installed)
