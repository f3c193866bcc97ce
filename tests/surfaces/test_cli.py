"""The command line, from the outside: what is printed where, and the exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tether


def run(*arguments: str, code: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own; ``code`` runs there first."""
    start = f"{code}\nimport sys\nfrom tether.surfaces.cli import main\nsys.exit(main())"
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", start, *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
        env=environment,
        cwd=cwd,
    )


def test_the_version_goes_to_stdout() -> None:
    done = run("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"tether {tether.__version__}\n", "")


def test_it_is_a_module_too() -> None:
    command = [sys.executable, "-m", "tether.surfaces.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)

    assert done.stdout == f"tether {tether.__version__}\n"


def test_help_names_the_options_and_the_exit_codes() -> None:
    done = run("demo", "--help")

    assert done.returncode == 0
    for said in ("--once", "--port", "--server", "Exit codes", "130", "143", "69"):
        assert said in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["demo", "--nope"], "--nope"),
        (["demo", "--port", "http"], "--port"),
        (["demo", "--port", "70000"], "--port"),
        (["demo", "--server", "/no/such/file"], "/no/such/file"),
        (["demo", "extra"], "extra"),
        (["dmeo"], "dmeo"),
    ],
)
def test_wrong_usage_is_one_clear_error_on_stderr(arguments: list[str], named: str) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert named in done.stderr
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_package_names_the_extra_in_one_line(package: str) -> None:
    done = run("demo", code=f"import sys; sys.modules[{package!r}] = None")

    assert done.returncode == 69
    assert done.stdout == ""
    assert "pip install 'tether[cli]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_broken_imports_are_not_called_that() -> None:
    done = run("demo", code="import sys; sys.modules['pathlib'] = None")

    assert "tether[cli]" not in done.stderr
    assert done.returncode == 1


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("demo", "--once", "--port", str(taken.getsockname()[1]), "--server", "/bin/true")

    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "is taken" in done.stderr
