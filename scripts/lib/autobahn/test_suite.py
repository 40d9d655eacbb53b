"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import json
import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from ..common import Failure
from . import suite


class Machine:
    """Programs in a folder that is the whole PATH; no pyenv but in that folder."""

    def __init__(self, **programs):
        self._folder = tempfile.TemporaryDirectory()
        for name, script in programs.items():
            self.add(f"bin/{name}", script)

    def add(self, path, script):
        path = Path(self._folder.name, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def __enter__(self):
        folder = self._folder.name
        environment = {"PATH": f"{folder}/bin", "PYENV_ROOT": f"{folder}/pyenv"}
        self._environment = mock.patch.dict(os.environ, environment)
        self._environment.start()
        return self

    def __exit__(self, *_):
        self._environment.stop()
        self._folder.cleanup()


def python(version, path="/python"):
    return f"echo {version} {path}"


class Finding(unittest.TestCase):
    def test_asks_each_python_for_its_version(self):
        with Machine(python=python("3.11"), python2=python("2.7", "/right")):
            self.assertEqual(suite.find_python(), "/right")
        with Machine(python=python("3.11"), python2=python("2.6")):
            self.assertIsNone(suite.find_python())

    def test_sees_through_a_shim_that_stands_for_nothing(self):
        with Machine(**{"python2.7": "exit 127"}) as machine:
            self.assertIsNone(suite.find_python())
            machine.add("pyenv/versions/2.7.18/bin/python2.7", python("2.7", "/pyenv"))
            self.assertEqual(suite.find_python(), "/pyenv")

    def test_takes_docker_when_there_is_no_python(self):
        with Machine(docker="echo 28.2"):
            found = suite.find()
        self.assertIsInstance(found, suite.Docker)
        self.assertTrue(found.docker.endswith("/bin/docker"))

    def test_says_what_is_missing(self):
        with Machine(), self.assertRaisesRegex(Failure, "Python 2.7 .*pyenv install.*docker is not installed"):
            suite.find()
        with Machine(docker="exit 1"), self.assertRaisesRegex(Failure, "Python 2.7 .*docker info"):
            suite.find()


class Commands(unittest.TestCase):
    FOLDER = Path("/somewhere")
    ARGUMENTS = ["--spec", "/somewhere/spec.json", "--webport", "0"]

    def test_native(self):
        native = suite.Native(Path("/python"))
        wanted = ["--mode", "fuzzingserver", *self.ARGUMENTS]
        self.assertEqual(native.command(suite.SERVER, self.FOLDER), ["/python/bin/wstest", *wanted])
        fewer = ["/python/bin/python", "-B", str(suite.FEWER_MESSAGES), "100"]
        self.assertEqual(native.command(suite.SERVER, self.FOLDER, messages=100), [*fewer, *wanted])

    def test_docker_reaches_the_servers_of_this_machine(self):
        command = suite.Docker("docker").command(suite.CLIENT, self.FOLDER)
        self.assertEqual(command[:2], ["docker", "run"])
        self.assertIn(("--network", "host"), zip(command, command[1:]))
        self.assertIn(("--volume", "/somewhere:/somewhere"), zip(command, command[1:]))
        tail = [suite.IMAGE, "wstest", "--mode", "fuzzingclient", *self.ARGUMENTS]
        self.assertEqual(command[-len(tail):], tail)

    def test_docker_is_given_the_program_that_lowers_the_number_of_messages(self):
        command = suite.Docker("docker").command(suite.CLIENT, self.FOLDER, messages=100)
        program = str(suite.FEWER_MESSAGES)
        self.assertIn(("--volume", f"{program}:{program}:ro"), zip(command, command[1:]))
        tail = [program, "100", "--mode", "fuzzingclient", *self.ARGUMENTS]
        self.assertEqual(command[-len(tail):], tail)
        self.assertIn((suite.IMAGE, "sh"), zip(command, command[1:]))

    def test_docker_publishes_a_fuzzing_server_to_this_machine_only(self):
        command = suite.Docker("docker").command(suite.SERVER, self.FOLDER, 4242)
        self.assertIn(("--publish", "127.0.0.1:4242:4242"), zip(command, command[1:]))
        self.assertNotIn("--network", command)

    def test_the_image_and_the_package_are_the_same_version(self):
        package = suite.NAME.replace(" ", "==")
        self.assertIn(package, (suite.PARTS / "suite.txt").read_text().split())
        self.assertTrue(suite.IMAGE.endswith(":" + suite.NAME.split()[1]))


class Specification(unittest.TestCase):
    def test_names_the_cases_and_the_target(self):
        with tempfile.TemporaryDirectory() as folder:
            report = suite.write_specification(Path(folder), ["6.4.1"], url="ws://127.0.0.1:9001")
            written = json.loads(Path(folder, "spec.json").read_text())
        self.assertEqual(written["cases"], ["6.4.1"])
        self.assertEqual(written["url"], "ws://127.0.0.1:9001")
        self.assertEqual(written["outdir"], str(report))


if __name__ == "__main__":
    unittest.main()
