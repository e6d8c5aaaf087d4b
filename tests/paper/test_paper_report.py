"""The whole of the router's part on a small table: routers, outcome, figures, report, files."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.paper.paper_tables import DOMAINS, EXPERTS, cards, descriptions, performance
from tryage.errors import MissingExtra, SaveFailed
from tryage.paper import choosing, figures
from tryage.paper.outcome import conclude
from tryage.paper.report import Run, write_report
from tryage.paper.routers import trained
from tryage.predictors.fine_tune import Checkpoint
from tryage.predictors.perceptive import PerceptivePredictor
from tryage.predictors.transformer import CHECKPOINT_FILE

LAMBDAS = (0.0, 0.01, 0.05, 0.2, 1.0)
RUN = Run("0a1b2c3d", {"seeds": [0, 1], "text": "<script>"}, {"router": 1.5}, "two cores")


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Leave out what takes seconds: UMAP, which compiles itself, and two of the baselines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "umap", None)
        patch.setattr(choosing, "LEARNED", ("knn",))
        yield


@pytest.fixture(scope="module")
def tables():
    return performance(120, 1), performance(30, 2), performance(45, 3)


@pytest.fixture(scope="module")
def router(tiny_encoder):
    def make(**fields):
        small = {"learning_rate": 1e-3, "epochs": 6, "check_every": 20}
        return PerceptivePredictor(tiny_encoder, **{**small, **fields})

    return make


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory):
    """A folder with an encoder of two layers, 32 wide, its weights random."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from tests.paper.paper_tables import WORDS

    folder = tmp_path_factory.mktemp("tiny_encoder")
    some = " ".join(WORDS.values()).split()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(some)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def outcome(tables, router):
    routers = {
        "mse": [router(seed=seed).fit(tables[0]) for seed in (0, 1)],
        "ranking": [router(loss="ranking").fit(tables[0])],
    }
    return conclude(*tables, cards(), descriptions(), routers, LAMBDAS)


@pytest.fixture(scope="module")
def written(outcome, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return folder, write_report(outcome, RUN, folder)


def test_the_router_beats_chance_and_the_best_single_expert(outcome):
    ways = outcome.ways
    assert ways["mse"].mean_loss < ways["best_single"].mean_loss
    assert ways["mse"].selection_accuracy > 0.8
    assert all(seed.below_best_single for seed in outcome.seeds)
    assert [(seed.router, seed.seed) for seed in outcome.seeds] == [
        ("mse", 0),
        ("mse", 1),
        ("ranking", 0),
    ]
    assert list(ways)[-1] == "oracle"
    assert outcome.leads["best_single"].loss > 0


def test_the_headline_is_chosen_on_validation_and_not_on_test(tables, router):
    learned, _, test = tables
    # On validation the losses are the wrong way round, so that the worse router is chosen.
    good = router().fit(learned)
    upside_down = learned.extras["loss"].astype(float).max() - learned.extras["loss"].astype(float)
    bad = router().fit(replace(learned, scores=np.exp(-upside_down).astype(np.float32)))
    losses = test.extras["loss"].astype(float)
    wrong = replace(
        test, extras={**test.extras, "loss": (losses.max() + 0.1 - losses).astype(object)}
    )
    routers = {"mse": [good], "ranking": [bad]}
    found = conclude(learned, wrong, test, cards(), descriptions(), routers, (0.0, 1.0))
    assert found.headline == "ranking"
    assert found.ways["ranking"].mean_loss > found.ways["mse"].mean_loss


def test_tables_with_their_columns_in_another_order_are_the_same_experiment(outcome, tables):
    learned, validation, test = tables
    turned = test.only(EXPERTS[::-1])
    predictors = {"mse": [StandIn()]}
    one, other = (
        conclude(learned, validation, t, cards(), descriptions(), predictors, (0.0, 1.0))
        for t in (test, turned)
    )
    assert one.results() == other.results()


class StandIn(PerceptivePredictor):
    """Predicts by the first word that only one domain has."""

    def __init__(self):
        super().__init__()
        self.models_ = EXPERTS

    def predict(self, prompts):
        best = [1 if "python" in prompt else 2 if "sea" in prompt else 3 for prompt in prompts]
        return np.eye(5, dtype=np.float32)[best]

    def embed(self, prompts):
        return self.predict(prompts)

    def embed_untrained(self, prompts):
        return np.ones((len(prompts), 5), dtype=np.float32)


def test_the_results_are_what_the_command_promises(written, outcome):
    folder, record = written
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(record))
    results = record["results"]
    promised = {"selection_accuracy", "mean_loss", "best_single_loss", "per_domain_best_loss",
                "oracle_loss", "oracle_gap_closed"}  # fmt: skip
    assert promised <= set(results["intervals"]) <= set(results)
    for name in results["intervals"]:
        low, high = results["intervals"][name]
        assert low <= results[name] <= high, name
    assert results["mean_loss"] == outcome.ways[outcome.headline].mean_loss
    assert record["run"]["digest"] == "0a1b2c3d"
    files = record["files"]
    for file in (files["report"], files["results"], *files["tables"], *files["figures"]):
        assert (folder / file).stat().st_size > 50, file
    assert len(files["figures"]) == 8


def test_tables_are_the_same_in_every_form(written):
    folder, record = written
    for name, rows in record["tables"].items():
        with (folder / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        assert [{k: str(v) for k, v in row.items()} for row in rows] == read, name
    front = record["tables"]["front"]
    assert [row["weight"] for row in front] == list(LAMBDAS)
    assert {row["domain"] for row in record["tables"]["allocation"]} == set(DOMAINS)


class Reader(HTMLParser):
    """Notes the ids, what is asked of elsewhere, and tags that are left open."""

    VOID = ("meta", "br", "img", "link", "path", "use", "image", "rect")

    def __init__(self):
        super().__init__()
        self.ids, self.asked, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        asked = [given.get("src"), given.get("href"), given.get("xlink:href")]
        self.asked += [a for a in asked if a and not a.startswith(("#", "data:"))]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_keeps_the_papers_figures_apart(written):
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.open == ["html", "body"][: len(reader.open)]
    assert reader.asked == []
    assert len(reader.ids) == len(set(reader.ids)) > 20
    for used in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page):
        assert (used[0] or used[1]) in reader.ids
    assert "<script>" not in page
    assert "prefers-color-scheme: dark" in page
    assert "currentColor" in page
    before, _, after = page.partition("<h2>What the paper reports</h2>")
    for number in ("50.9", "23.6", "10.8 %"):
        assert number not in before
        assert number in after
    assert "t-SNE" in page
    assert "0a1b2c3d" in page


def test_figures_are_the_same_files_every_time(outcome, tmp_path):
    names = outcome.bench.cards.names
    texts = []
    for turn in ("one", "other"):
        (tmp_path / turn).mkdir()
        figure = figures.allocations(names, outcome.routed, outcome.best)
        texts.append(figures.write(figure, tmp_path / turn, "a")["svg"].read_text())
    assert texts[0] == texts[1]
    assert all(name in texts[0] for name in names)


def test_umap_is_taken_where_it_is_installed(monkeypatch):
    class UMAP:
        def __init__(self, **options):
            self.options = options

        def fit_transform(self, vectors):
            assert self.options["random_state"] == 3
            return vectors[:, :2]

    module = type(sys)("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    places, method = figures.project(np.eye(9, dtype=np.float32), seed=3)
    assert (places.shape, method) == ((9, 2), "UMAP")


def test_without_matplotlib_the_extra_is_named(outcome, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tryage\[train\]'"):
        write_report(outcome, RUN, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_named(outcome, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SaveFailed, match=r"taken: the report cannot be written.*another --out"):
        write_report(outcome, RUN, tmp_path / "taken")


def test_a_trained_router_is_not_trained_again(router, tables, tmp_path, monkeypatch):
    first = trained(router(), tables[0], tmp_path / "r")
    assert not (tmp_path / "r" / CHECKPOINT_FILE).exists()
    monkeypatch.setattr(PerceptivePredictor, "fit", None)
    again = trained(router(), tables[0], tmp_path / "r")
    assert again.predict(tables[2].prompts).tobytes() == first.predict(tables[2].prompts).tobytes()


def test_a_router_whose_training_was_killed_goes_on(router, tables, tmp_path, monkeypatch):
    whole = trained(router(), tables[0], tmp_path / "whole")
    written = []
    honest = Checkpoint.write

    def write(self, *args):
        honest(self, *args)
        written.append(None)
        if len(written) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write)
        with pytest.raises(KeyboardInterrupt):
            trained(router(), tables[0], tmp_path / "r")
    assert (tmp_path / "r" / CHECKPOINT_FILE).exists()
    resumed = trained(router(), tables[0], tmp_path / "r")
    prompts = tables[2].prompts
    assert resumed.predict(prompts).tobytes() == whole.predict(prompts).tobytes()
    shutil.rmtree(tmp_path)
