"""Paths, arguments, errors and child processes, shared by the scripts."""

import argparse
import functools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What the scripts download and build for themselves; ignored by git.
CACHE = ROOT / ".cache"


class Failure(Exception):
    """Something the user can act on: printed without a traceback."""


def main(command):
    """Runs a script's main function and turns its `Failure` into exit code 1."""
    try:
        sys.exit(command())
    except Failure as failure:
        print(f"{Path(sys.argv[0]).name}: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def unwind_on_sigterm():
    """Makes SIGTERM, such as from a time limit outside, leave every `with` block on its way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def some_of(known):
    """An argument type: names from `known`, separated by commas."""
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}; known: {', '.join(known)}")
        return names
    return parse


def need(tool, why):
    """The path of an installed tool."""
    path = shutil.which(tool)
    if path is None:
        raise Failure(f"{tool} is not installed; it is needed {why}")
    return path


def run(argv, cwd=ROOT, **options):
    """Runs a command to its end; its output goes to the terminal."""
    try:
        subprocess.run(argv, cwd=cwd, check=True, **options)
    except FileNotFoundError:
        raise Failure(f"{argv[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        shown = " ".join(str(argument) for argument in argv)
        raise Failure(f"`{shown}` ended with status {error.returncode}") from None


def output(argv, cwd=ROOT):
    """What a command prints, or an empty string when it cannot be run."""
    try:
        return subprocess.run(
            argv, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@functools.cache
def release_directory(workspace):
    """Where cargo puts the release binaries of a workspace (it knows CARGO_TARGET_DIR)."""
    need("cargo", "to build the servers; see rustup.rs")
    metadata = output(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=workspace)
    if not metadata:
        raise Failure(f"`cargo metadata` does not work in {workspace}; run it there to see why")
    return Path(json.loads(metadata)["target_directory"]) / "release"
