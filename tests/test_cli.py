"""The command line, as a process: what it prints, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROMPT = "Prove that there are infinitely many primes"


def tryage(*arguments, stdin=None, cwd=None):
    return subprocess.run(
        [sys.executable, "-c", "from tryage.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        cwd=cwd,
        timeout=120,
    )


def test_route_prints_one_json_object():
    done = tryage("route", PROMPT, "--flag", "cost=0.3", "--json")
    assert done.returncode == 0, done.stderr
    decision = json.loads(done.stdout)
    assert set(decision) == {"model", "kept", "ranking", "excluded", "flags", "elapsed_us"}
    assert decision["flags"] == {"cost": 0.3}
    first = decision["ranking"][0]
    assert first["model"] == decision["model"]
    assert set(first) == {"model", "quality", "cost_usd", "latency_s", "objective", "terms"}
    assert set(first["terms"]) == {"cost"}


def test_route_picks_a_smaller_model_when_asked():
    def parameters(*flags):
        flags = [part for flag in ("max params 10000b", *flags) for part in ("--flag", flag)]
        model = json.loads(tryage("route", PROMPT, *flags, "--json").stdout)["model"]
        cards = json.loads(tryage("models", "--json").stdout)["models"]
        return next(card["parameters"] for card in cards if card["name"] == model)

    assert parameters("smallest model") < parameters()


def test_route_shows_a_table_with_the_excluded():
    done = tryage("route", "-", "--flag", "tools", "--flag", "cost=0.2", stdin=PROMPT)
    assert done.returncode == 0
    for part in ("rank", "quality", "λ·C cost", "objective", "not known to have tools"):
        assert part in done.stdout


def test_a_library_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[[models]]\nname = "mine"\nparameters = 7e9\n')
    assert json.loads(tryage("route", "hi", "--library", file, "--json").stdout)["model"] == "mine"
    listed = json.loads(tryage("models", "--library", file, "--json").stdout)
    assert listed == {"models": [{"name": "mine", "parameters": 7e9}]}
    assert "7B" in tryage("models", "--library", file).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["route", ""], 2, "empty"),
        (["route", "   "], 2, "empty"),
        (["route", "hi", "--flag", "cots=0.3"], 2, "Did you mean 'cost'"),
        (["route", "hi", "--flag", "cost=-1"], 2, "0 or more"),
        (["route", "hi", "--flag", "max params 1m"], 1, "no model of"),
        (["route", "hi", "--flag", "only gpt-5000"], 2, "not in this library"),
        (["route", "hi", "--library", "none.toml"], 2, "none.toml"),
        (["models", "--library", "none.toml"], 2, "none.toml"),
        (["demo", "--out", "/dev/null/out"], 2, "/dev/null/out"),
    ],
)
def test_an_error_is_one_line_with_the_right_status(arguments, status, message):
    done = tryage(*arguments)
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.startswith("tryage: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["route"], ["bogus"], ["route", "hi", "--bogus"]])
def test_a_wrong_call_explains_itself(arguments):
    done = tryage(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_card_is_named_by_file_line_and_key(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[[models]]\nname = "a"\nprice = 3\n')
    done = tryage("models", "--library", file)
    assert done.returncode == 2
    assert "mine.toml:3:" in done.stderr
    assert "'price'" in done.stderr


@pytest.mark.parametrize("command", ["route", "models", "demo"])
def test_every_command_has_help_with_an_example(command):
    done = tryage(command, "--help")
    assert done.returncode == 0
    assert f"Example: tryage {command}" in done.stdout


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -c 'from tryage.cli import main; main()' models | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
