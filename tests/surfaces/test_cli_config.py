"""``tether config``: what people and scripts see of a configuration."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from tests.config.broken import BROKEN, ENCODED, GOOD, SECRET
from tether import MissingDriver
from tether.surfaces.cli.config import config_app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with files for secrets, and a variable that holds one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("PLANTED", SECRET)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "planted").write_text(f"{SECRET}\n")
    (tmp_path / "secrets" / "large").write_bytes(b"x" * 70_000)
    (tmp_path / "secrets" / "latin").write_bytes(b"one\ncaf\xe9\n")
    return tmp_path


def write(content):
    Path("tether.yaml").write_bytes(content.encode() if isinstance(content, str) else content)


def tether_config(*arguments):
    return CliRunner().invoke(config_app, arguments)


def hides_secrets(text):
    return not any(secret in text for secret in (SECRET, ENCODED, "hunter2"))


class TestBroken:
    @pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
    def test_a_broken_file_gives_one_message_and_no_secret(self, folder, broken):
        write(broken.content)
        done = tether_config("check", "tether.yaml")
        assert done.stderr == f"{broken.message}\n"
        assert done.exit_code == 78
        assert done.stdout == ""
        assert hides_secrets(done.output)

    @pytest.mark.parametrize("broken", BROKEN[::40], ids=lambda broken: broken.name)
    def test_so_it_does_in_a_process_of_its_own(self, folder, broken):
        write(broken.content)
        command = [sys.executable, "-m", "tether.surfaces.cli", "config", "check", "tether.yaml"]
        path = {"PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **path}, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr == f"{broken.message}\n"

    @pytest.mark.parametrize("command", ["check", "show"])
    def test_a_file_that_is_not_there(self, folder, command):
        done = tether_config(command, "nowhere.yaml")
        assert (done.exit_code, done.stdout) == (78, "")
        assert done.stderr == "nowhere.yaml: there is no such file; check the path\n"

    def test_a_folder(self, folder):
        done = tether_config("check", "secrets")
        assert (done.exit_code, done.stderr) == (78, "secrets: is a directory; name the file in it\n")

    def test_a_pipe_that_nobody_writes_to(self, folder):
        os.mkfifo("pipe")
        done = tether_config("check", "pipe")
        assert (done.exit_code, done.stderr) == (78, "pipe: is not a regular file; write it to one\n")

    def test_a_file_that_may_not_be_read(self, folder, monkeypatch):
        def refuse(path, mode):
            raise PermissionError(13, f"{SECRET}: Permission denied")

        write(GOOD)
        monkeypatch.setattr(Path, "open", refuse)  # root, who may run this, may read everything
        done = tether_config("check", "tether.yaml")
        assert done.exit_code == 78
        assert done.stderr == (
            f"tether.yaml: may not be read by this user (uid {os.getuid()}); change its owner or its mode\n"
        )

    def test_standard_input(self, folder):
        done = tether_config("check", "-")
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == "tether: a configuration is not read from standard input; name its file\n"

    def test_twenty_problems_are_told_and_the_others_counted(self, folder):
        write("api:\n" + "".join(f"  wrong{n}: {SECRET}\n" for n in range(25)))
        lines = tether_config("check", "tether.yaml").stderr.splitlines()
        assert len(lines) == 21
        assert lines[0].startswith("tether.yaml:2:3: api.wrong0: unknown key")
        assert lines[-1] == "… and 5 more"

    def test_all_problems_of_a_stage_are_told_in_the_order_of_the_file(self, folder):
        write(
            "connections:\n  a:\n    type: redis\n    url: 5\n    requird: true\n    retry: {jitter: 2}\n"
            "api: {port: x}\n"
        )
        lines = tether_config("check", "tether.yaml").stderr.splitlines()
        places = [
            "4:10: connections.a.url",
            "5:5: connections.a.requird",
            "6:21: connections.a.retry.jitter",
            "7:13: api.port",
        ]
        assert [line.split(": ")[:2] for line in lines] == [
            f"tether.yaml:{place}".split(": ") for place in places
        ]


class TestCheck:
    def test_a_good_file(self, folder):
        write(GOOD + "    required: true\n  other: {type: redis, url: redis://h}\n")
        done = tether_config("check", "tether.yaml")
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout == "tether.yaml: good: 2 connections (1 required), API on http://127.0.0.1:8321\n"

    def test_a_driver_that_is_not_installed_is_noted(self, folder, monkeypatch):
        def missing():
            raise MissingDriver("redis", "redis")

        monkeypatch.setattr("tether.config.drivers.import_redis", missing)
        write(GOOD)
        done = tether_config("check", "tether.yaml")
        assert done.exit_code == 0
        assert "pip install 'tether[redis]'" in done.stderr

    def test_an_ipv6_address_and_a_path(self, folder):
        write(GOOD + 'api: {host: "::1", port: "1234", base_path: /t}\n')
        assert tether_config("check", "tether.yaml").stdout.endswith(
            "good: 1 connection, API on http://[::1]:1234/t\n"
        )

    @pytest.mark.parametrize(
        "content", ["api: {}\n", "connections:\n", "connections: {}\n", "api:\nconnections:\n"]
    )
    def test_no_connections_are_legal_and_noted(self, folder, content):
        write(content)
        done = tether_config("check", "tether.yaml")
        assert done.exit_code == 0
        assert done.stdout == "tether.yaml: good: 0 connections, API on http://127.0.0.1:8321\n"
        assert done.stderr == "tether.yaml: there are no connections; nothing is supervised\n"

    def test_without_the_environment_what_needs_it_is_not_judged(self, folder):
        write(
            "api: {host: 0.0.0.0, read_token: '${NOT_SET}', port: '${file:none}'}\n"
            "connections:\n"
            "  a: {type: redis, url: '${NOT_SET}', depends_on: ['${NOT_SET}', b], max_retries: '${NOT_SET}'}\n"
            "  b: {type: '${NOT_SET}', whatever: 1}\n"
            "  c: {type: redis, '${NOT_SET}': 1, depends_on: [d]}\n"
            "  ${NOT_SET}: {type: redis, url: redis://h}\n"
            "  e: {type: redis, url: redis://h, retry: {strategy: decorrelated, base: 2m, maximum: '${NOT_SET}'}}\n"
        )
        done = tether_config("check", "--no-env", "tether.yaml")
        assert done.exit_code == 0, done.stderr
        assert done.stderr.startswith(
            "tether.yaml: not judged, for they need the environment: api.port, api.read_token, conn"
        )
        assert done.stdout.startswith("tether.yaml: good: 4 connections, API on http://0.0.0.0:8321\n")

    def test_without_the_environment_the_rest_is_judged(self, folder):
        write("api: {host: '${NOT_SET}', prot: 5}\n")
        done = tether_config("check", "--no-env", "tether.yaml")
        assert done.exit_code == 78
        assert done.stderr == "tether.yaml:1:27: api.prot: unknown key; did you mean port?\n"

    def test_the_example_is_good(self, monkeypatch):
        monkeypatch.chdir(ROOT)
        done = tether_config("check", "examples/tether.yaml")
        assert (done.exit_code, done.stderr) == (0, "")
        assert (
            done.stdout
            == "examples/tether.yaml: good: 2 connections (1 required), API on http://127.0.0.1:8321\n"
        )


class TestShow:
    CONTENT = (
        "api:\n"
        f"  operate_token: {SECRET}\n"
        "  port: ${PORT_OF_API:-1234}\n"
        "connections:\n"
        "  cache:\n"
        "    type: redis\n"
        "    url: redis://app:${file:secrets/planted}@h:6379/1?client_name=x\n"
        "    connect_timeout: ${TIMEOUT}\n"
        f"    options: {{password: {SECRET}, username: a-{SECRET}}}\n"
    )

    def show(self, monkeypatch, *arguments):
        monkeypatch.setenv("TIMEOUT", "90")
        write(self.CONTENT)
        done = tether_config("show", *arguments, "tether.yaml")
        assert (done.exit_code, done.stderr) == (0, "")
        assert hides_secrets(done.stdout)
        return done.stdout

    def test_each_line_says_where_its_value_comes_from(self, folder, monkeypatch):
        lines = self.show(monkeypatch).splitlines()
        told = {line.split("#")[0].strip(): line.split("# ")[1] for line in lines if "#" in line}
        assert told["host: 127.0.0.1"] == "default"
        assert told["port: 1234"] == "tether.yaml:3, default of $PORT_OF_API"
        assert told['operate_token: "***"'] == "tether.yaml:2"
        assert told['url: "redis://app:***@h:6379/1?client_name=x"'] == "tether.yaml:7, file secrets/planted"
        assert told["connect_timeout: 1m30s"] == "tether.yaml:8, $TIMEOUT"
        assert told["maximum: 1m"] == "default"
        assert told['password: "***"'] == "tether.yaml:9"
        assert told['username: "a-***"'] == "tether.yaml:9"
        assert "  cache:" in lines

    def test_the_comments_are_aligned(self, folder, monkeypatch):
        columns = {line.index("  # ") for line in self.show(monkeypatch).splitlines() if "  # " in line}
        assert len(columns) == 1

    def test_as_json(self, folder, monkeypatch):
        shown = json.loads(self.show(monkeypatch, "--json"))
        assert shown["api.operate_token"] == {"value": "***", "origin": "tether.yaml:2"}
        assert shown["api.read_token"] == {"value": None, "origin": "default"}
        assert shown["connections.cache.max_retries"] == {"value": None, "origin": "default"}
        assert shown["connections.cache.health_check_interval"] == {"value": "5s", "origin": "default"}
        assert shown["connections.cache.depends_on"] == {"value": [], "origin": "default"}
        assert shown["connections.cache.options.password"] == {"value": "***", "origin": "tether.yaml:9"}

    def test_a_terminal_without_the_character_gets_an_escape(self, folder):
        write(GOOD + "    options: {client_name: café}\n")
        command = [sys.executable, "-m", "tether.surfaces.cli", "config", "show", "tether.yaml"]
        changed = {"PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(
            command, capture_output=True, env={**os.environ, **changed}, timeout=30, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b'client_name: "caf\\xe9"' in done.stdout


class TestSchema:
    def test_it_is_the_one_in_the_documents(self):
        done = tether_config("schema")
        assert done.exit_code == 0
        assert done.stdout == (ROOT / "docs" / "reference" / "tether.schema.json").read_text("utf-8")

    def test_it_is_a_schema(self):
        jsonschema.Draft7Validator.check_schema(json.loads(tether_config("schema").stdout))


def python(code):
    """Run ``code`` in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        timeout=30,
        check=False,
    )


class TestWithoutThePackages:
    @pytest.mark.parametrize("arguments", [("check", "tether.yaml"), ("schema",)])
    def test_what_is_missing_is_named_with_what_installs_it(self, folder, arguments):
        done = python(
            f"import sys; sys.modules['ruamel'] = None; sys.argv[1:] = {['config', *arguments]!r}\n"
            "from tether.surfaces.cli import main\nsys.exit(main())"
        )
        assert (done.returncode, done.stdout) == (69, "")
        needed = "the package 'ruamel.yaml' is not installed; install it with: pip install 'tether[daemon]'"
        assert done.stderr == f"tether: {needed}\n"

    def test_so_is_pydantic(self):  # not through the command line: new versions of Typer need it themselves
        done = python(
            "import sys; sys.modules['pydantic'] = None\n"
            "import typer\nfrom pathlib import Path\nfrom tether.surfaces.cli.config import load_or_exit\n"
            "try:\n    load_or_exit(Path('tether.yaml'))\nexcept typer.Exit as end:\n    print(end.exit_code)\n"
        )
        assert done.stdout == "69\n", done.stderr
        assert "'pydantic' is not installed" in done.stderr

    def test_the_commands_can_be_listed_without_them(self):
        done = python(
            "import sys; import tether.surfaces.cli.config\n"
            "print(sorted({'ruamel.yaml', 'tether.config'} & set(sys.modules)))"
        )
        assert done.stdout == "[]\n", done.stderr
