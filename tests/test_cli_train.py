"""`tryage train` and `tryage evaluate`, as processes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import numpy as np
import pytest

from tests.test_cli import tryage
from tryage import predictors
from tryage.training.provenance import FILE, seen_prompts

BASELINES = {
    "random", "cheapest", "best_single", "prompt_length", "per_domain_best", "knn", "oracle",
}  # fmt: skip


def write(table, path, rows=None, measures=("cost_usd",)):
    lines = []
    for row in range(len(table)) if rows is None else rows:
        for column, model in enumerate(table.models):
            line = {
                "prompt_id": table.prompt_ids[row],
                "prompt": table.prompts[row],
                "model": model,
                "score": float(table.scores[row, column]),
                "domain": table.domains[row],
            }
            line |= {name: float(table.measures[name][row, column]) for name in measures}
            lines.append(json.dumps(line))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table):
    """A folder with tables, and a predictor that learned from one half of them."""
    folder = tmp_path_factory.mktemp("tables")
    write(table, folder / "all.jsonl")
    write(table, folder / "half.jsonl", range(30))
    write(table, folder / "rest.jsonl", range(30, 60))
    write(table.only(["tiny", "coder"]), folder / "two.jsonl")
    write(table, folder / "free.jsonl", measures=())
    write(table.only(["giant"]), folder / "one_model.jsonl")
    write(table, folder / "one_prompt.jsonl", [0])
    write(table, folder / "one_domain.jsonl", range(0, 60, 3))
    lines = (folder / "all.jsonl").read_text().splitlines()
    for name, score in (("high", 1.3), ("nan", float("nan"))):
        bad = json.dumps(json.loads(lines[4]) | {"score": score})
        (folder / f"{name}.jsonl").write_text("\n".join([*lines[:4], bad]))
    (folder / "twice.jsonl").write_text("\n".join([*lines, lines[2]]))
    done = tryage("train", "--table", folder / "half.jsonl", "--predictor", "knn", "--set", "k=7",
                  "--out", folder / "knn")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "knn learned 4 models from 30 prompts" in done.stdout
    return folder


def test_a_trained_predictor_is_what_fit_gives(folder, table):
    trained = predictors.load(folder / "knn")
    plain = predictors.get("knn")(k=7).fit(table.rows(range(30)))
    assert trained.k == 7
    assert trained.predict(table.prompts).tobytes() == plain.predict(table.prompts).tobytes()


def test_an_artefact_knows_what_it_learned_from_and_holds_no_text(folder, table):
    np.testing.assert_array_equal(seen_prompts(folder / "knn", table), np.arange(30))
    assert b"Python" not in (folder / "knn" / FILE).read_bytes()


def test_several_tables_are_learned_together(folder, tmp_path):
    for arguments in (
        ("--table", folder / "half.jsonl", folder / "rest.jsonl"),
        ("--table", folder / "half.jsonl", "--table", folder / "rest.jsonl"),
    ):
        done = tryage(
            "train", *arguments, "--predictor", "best_single", "--out", tmp_path, "--json"
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["tables"] == {"half": 30, "rest": 30}
        assert told["n_prompts"] == 60
        assert told["models"] == ["tiny", "coder", "thinker", "giant"]


def test_the_default_predictor_learns_from_tables_of_other_models(folder, tmp_path):
    tables = [folder / "rest.jsonl", folder / "two.jsonl"]
    few = ["--set", "rank=3"]
    done = tryage("train", "--table", *tables, *few, "--out", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert predictors.load(tmp_path / "new").rank == 3
    done = tryage("train", "--table", *tables, "--predictor", "knn", "--out", tmp_path / "other")
    assert done.returncode == 2
    assert "rest and two have different models (giant, thinker)" in done.stderr


@pytest.mark.parametrize(("name", "size"), [("knn", 9_000), ("best_single", 500)])
def test_a_full_disc_leaves_the_old_artefact_whole(folder, name, size):
    # Of `best_single` there is room for the weights, but not for what it learned from.
    before = {path.name: path.read_bytes() for path in (folder / "knn").iterdir()}
    code = "from tryage.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--table", str(folder / "all.jsonl"), "--predictor",
         name, "--out", str(folder / "knn")],
        capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("tryage: --out")
    assert "unchanged" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert {path.name: path.read_bytes() for path in (folder / "knn").iterdir()} == before


def test_a_route_is_decided_by_a_trained_predictor(folder):
    prompt = "Write a Python function that sorts a list of 5 numbers in place"
    done = tryage("route", prompt, "--predictor", folder / "knn", "--json")
    decision = json.loads(done.stdout)
    assert decision["model"] == "coder"
    assert {model["model"] for model in decision["ranking"]} == {
        "tiny",
        "coder",
        "thinker",
        "giant",
    }


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [([], (42, 18)), (["--split", "domain"], (40, 20)), (["--split", "model"], (42, 18))],
)
def test_evaluate_prints_one_json_object(folder, arguments, parts):
    call = ("evaluate", "--table", folder / "all.jsonl", "--predictor", "knn", "--json", *arguments)
    done = tryage(*call)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert (told["n_train"], told["n_test"]) == parts
    assert set(told["baselines"]) == BASELINES
    measures = set(told["predictor"])
    assert {"quality", "selection_accuracy", "regret", "aiq", "apgr", "cpt50", "cpt80"} < measures
    for contender in (told["predictor"], *told["baselines"].values()):
        assert set(contender) == measures
        assert set(contender["intervals"]) == measures - {"intervals"}
        low, high = contender["intervals"]["quality"]
        assert low <= contender["quality"] <= high
    assert told["split"] == (arguments[1] if arguments else "random")
    assert (told["seed"], told["tables"], told["leaked_prompts"]) == (0, ["all"], 0)
    assert len(told["unknown"]) == (arguments == ["--split", "model"])


def test_a_seed_gives_another_split_and_the_same_seed_the_same(folder):
    def told(seed):
        done = tryage("evaluate", "--table", folder / "all.jsonl", "--predictor", "best_single",
                      "--json", "--seed", seed)  # fmt: skip
        return json.loads(done.stdout)["baselines"]["oracle"]["quality"]

    assert told(1) == told(1) != told(2)


def test_evaluate_shows_a_table_and_draws_the_curves(folder, tmp_path):
    done = tryage("evaluate", "--table", folder / "all.jsonl", "--predictor", "knn", "--set", "k=3",
                  "--plot", tmp_path / "curves.png")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for part in ("knn with 95 % intervals", "accuracy", "parity $", "18 test prompts", "strong:"):
        assert part in done.stdout
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_unknown_costs_are_said_to_be_unknown(folder):
    done = tryage("evaluate", "--table", folder / "free.jsonl", "--predictor", "best_single")
    assert done.returncode == 0
    assert "no cost is known of tiny, coder, thinker, giant" in done.stdout


def test_without_costs_there_is_no_plot_but_the_measures_are_not_lost(folder, tmp_path):
    done = tryage("evaluate", "--table", folder / "free.jsonl", "--predictor", "best_single",
                  "--json", "--plot", tmp_path / "curves.png")  # fmt: skip
    assert done.returncode == 2
    assert "no curve to plot: no cost is known" in done.stderr
    assert json.loads(done.stdout)["predictor"]["quality"] > 0


def test_a_leak_is_told(folder):
    def warned(table):
        done = tryage("evaluate", "--table", folder / f"{table}.jsonl", "--predictor",
                      folder / "knn", "--json")  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr, json.loads(done.stdout)["leaked_prompts"]

    warning, leaked = warned("half")
    assert leaked == 9
    assert "learned from 9 of the 9 test prompts" in warning
    assert len(warning.strip().splitlines()) == 1
    assert warned("rest") == ("", 0)
    done = tryage("evaluate", "--table", "half.jsonl", "--predictor", "knn", cwd=folder)
    assert done.stderr == ""  # a name is stronger than the folder of that name
    (folder / "knn" / FILE).rename(folder / "kept")
    warning, leaked = warned("rest")
    (folder / "kept").rename(folder / "knn" / FILE)
    assert leaked is None
    assert "does not say what it learned from" in warning


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train", "none.jsonl"], 2, "none.jsonl: cannot be read"),
        (["train", "high.jsonl"], 2, "high.jsonl, row 5: score 1.3 is not a number in [0, 1]"),
        (["train", "nan.jsonl"], 2, "nan.jsonl, row 5: score nan is not"),
        (
            ["train", "twice.jsonl"],
            2,
            "row 241: 'thinker' on prompt_id '0' stands in row 3 already",
        ),
        (["train", "one_model.jsonl"], 2, "one_model has 60 prompt(s) and 1 model(s)"),
        (["train", "one_prompt.jsonl"], 2, "one_prompt has 1 prompt(s)"),
        (["train", "free.jsonl", "--predictor", "cheapest"], 2, "no cost is known"),
        (["train", "all.jsonl", "--predictor", "kn"], 2, "Did you mean 'knn'"),
        (
            ["train", "all.jsonl", "--predictor", "knn", "--set", "sharp=3"],
            2,
            "Did you mean 'sharpness'",
        ),
        (["train", "all.jsonl", "--predictor", "knn", "--set", "k=few"], 2, "valid integer"),
        (["train", "all.jsonl", "--predictor", "knn", "--out", "/dev/null/out"], 2, "/dev/null"),
        (["evaluate", "one_model.jsonl"], 2, "1 model (giant)"),
        (["evaluate", "one_prompt.jsonl"], 2, "1 distinct prompts"),
        (["evaluate", "one_domain.jsonl", "--split", "domain"], 2, "1 domain(s)"),
        (["evaluate", "two.jsonl", "--split", "model"], 2, "leaves 1 to learn from"),
        (["evaluate", "all.jsonl", "--predictor", "none"], 2, "no predictor is called 'none'"),
        (["evaluate", "all.jsonl", "--predictor", "."], 1, "not a complete saved predictor"),
        (["evaluate", "all.jsonl", "--plot", "curves.gif"], 2, "ends in .png"),
        (["evaluate", "all.jsonl", "--strong", "giants"], 2, "Did you mean 'giant'"),
        (["evaluate", "all.jsonl", "--library", "none.toml"], 2, "none.toml"),
    ],
)
def test_bad_input_is_one_line_with_the_right_status(
    folder, tmp_path, monkeypatch, arguments, status, message
):
    monkeypatch.chdir(tmp_path)
    command, table, *options = arguments
    if "--predictor" not in options:
        options += ["--predictor", "best_single"]
    if command == "train" and "--out" not in options:
        options += ["--out", tmp_path / "out"]
    done = tryage(command, "--table", folder / table, *options)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert done.stderr.startswith("tryage: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_help_has_an_example(command):
    done = tryage(command, "--help")
    assert done.returncode == 0
    assert f"Example: tryage {command}" in done.stdout


@pytest.mark.shared
@pytest.mark.parametrize("name", ["routellm_gsm8k", "routellm_mt_bench", "reasoning_gym_easy"])
def test_evaluate_on_public_tables(shared_data, name):
    table = shared_data / "tables" / f"{name}.parquet"
    done = tryage("evaluate", "--table", table, "--predictor", "prompt_length", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["baselines"]) == BASELINES
    best, oracle = (told["baselines"][name]["quality"] for name in ("best_single", "oracle"))
    assert best < oracle <= 1
    low, high = told["baselines"]["random"]["intervals"]["apgr"]
    assert low < 0.5 < high
    assert (told["predictor"]["aiq"] is None) == ("aiq" in told["notes"])
