"""`tryage anchors` and `tryage calibrate`, as a process."""

from __future__ import annotations

import csv
import json

import pytest

from tests.test_cli import tryage
from tryage.predictors import load
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.knn import KNNPredictor


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt_id", "prompt", "model", "score", "domain"])
        writer.writerows(rows)
    return path


def rows_of(table, models, prompts=None, rename=None):
    return [
        (table.prompt_ids[i], table.prompts[i], rename or m, table.scores[i, j], table.domains[i])
        for i in range(len(table))
        for j, m in enumerate(table.models)
        if m in models and (prompts is None or table.prompt_ids[i] in prompts)
    ]


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    """A predictor of three models, and their table."""
    folder = tmp_path_factory.mktemp("calibrate")
    known = table.only(["tiny", "coder", "thinker"])
    DefaultPredictor().fit(known).save(folder / "three")
    write(folder / "known.csv", rows_of(table, known.models))
    return folder


def test_from_a_table_to_a_grown_predictor(folder, table):
    done = tryage("anchors", "--table", folder / "known.csv", "--predictor", folder / "three",
                  "--k", 9, "--out", folder / "anchors.jsonl", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"out": str(folder / "anchors.jsonl"), "n_prompts": 9}
    lines = (folder / "anchors.jsonl").read_text(encoding="utf-8").splitlines()
    chosen = {json.loads(line)["prompt_id"] for line in lines}
    assert len(chosen) == 9
    rows = rows_of(table, ("tiny", "coder", "thinker")) + rows_of(table, ("giant",), chosen, "new")
    both = write(folder / "both.csv", rows)
    arguments = ("calibrate", "--model", "new", "--table", both, "--predictor", folder / "three",
                 "--out", folder / "grown")  # fmt: skip
    found = json.loads(tryage(*arguments, "--json").stdout)
    assert (found["model"], found["n_scores"], found["n_beside"]) == ("new", 9, 3)
    assert found["n_known"] == 3
    assert {near["model"] for near in found["nearest"]} == {"tiny", "coder", "thinker"}
    grown = load(folder / "grown")
    assert grown.models == ("tiny", "coder", "thinker", "new")
    assert abs(found["predicted"] - found["mean_score"]) < 0.25
    shown = tryage(*arguments)
    assert shown.returncode == 0
    assert "new scored" in shown.stdout
    assert shown.stderr == ""


def test_without_known_models_beside_it_says_so(folder, table):
    alone = write(folder / "alone.csv", rows_of(table, ("giant",)))
    done = tryage("calibrate", "--model", "giant", "--table", alone, "--predictor",
                  folder / "three", "--out", folder / "alone")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "add rows of known models" in done.stderr


def test_the_bundled_predictor_knows_the_anchors_that_ship(folder):
    rows = [(f"mmlu_pro/{n}", f"question {n}", "new", 1.0, "") for n in (8846, 9712, 4377)]
    done = tryage("calibrate", "--model", "new", "--table", write(folder / "listed.csv", rows),
                  "--out", folder / "listed", "--json")  # fmt: skip
    assert json.loads(done.stdout)["n_beside"] > 20


def test_a_card_says_where_to_begin(folder, table):
    cards = folder / "cards.toml"
    means = {}
    for accuracy in (0.1, 0.9):
        cards.write_text(f'[[models]]\nname = "giant"\nbenchmarks = {{ mmlu_pro = {accuracy} }}\n')
        one = write(folder / "one.csv", rows_of(table, ("giant",))[:1])
        done = tryage("calibrate", "--model", "giant", "--table", one, "--library", cards,
                      "--out", folder / "carded", "--json")  # fmt: skip
        means[accuracy] = json.loads(done.stdout)["predicted_by_card"]
    assert means[0.1] < means[0.9] - 0.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "nobody", "--table", "known.csv"), "no model 'nobody'"),
        (("--model", "tiny", "--table", "empty.csv"), "no rows"),
        (("--model", "tiny", "--table", "nan.csv"), "not a number in [0, 1]"),
        (("--model", "tiny", "--table", "absent.csv"), "absent.csv"),
        (("--model", "tiny", "--table", "known.csv", "--predictor", "knn"), "only a 'default' one"),
        (("--model", "tiny", "--table", "known.csv", "--predictor", "absent"), "not a complete"),
    ],
)
def test_what_cannot_be_calibrated(folder, table, arguments, said):
    write(folder / "empty.csv", [])
    write(folder / "nan.csv", [("1", "p", "tiny", "nan", "")])
    KNNPredictor().fit(table).save(folder / "knn")
    paths = {"--table", "--predictor"}
    given = [folder / a if b in paths else a for b, a in zip(("", *arguments), arguments)]
    done = tryage("calibrate", *given, "--out", folder / "never")
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "never").exists()


def test_anchors_that_cannot_be_had(folder):
    none = folder / "none.jsonl"
    for arguments, said in (
        (("--table", folder / "known.csv", "--k", 1000), "from 1 to 60 prompts"),
        (("--k", 0), "1 to 100"),
        (("--source", folder / "known.csv"), "known.csv"),
        (("--source", folder / "absent"), "absent"),
    ):
        done = tryage("anchors", *arguments, "--out", none)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert not none.exists()
    done = tryage("anchors", "--table", folder / "known.csv", "--k", 3, "--out", folder)
    assert (done.returncode, "--out" in done.stderr) == (2, True)
