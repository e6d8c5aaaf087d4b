"""Ways of choosing, their measures, the sweep: on tables whose results can be reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.paper.paper_tables import (
    DOMAINS,
    EXPERTS,
    LOSSES,
    PARAMETERS,
    cards,
    descriptions,
    of_losses,
    performance,
)
from tryage.flags import Flags
from tryage.paper import choosing, sweep
from tryage.paper.results import (
    Bench,
    allocation,
    by_domain,
    by_length,
    lead,
    measure,
    purity,
)


@pytest.fixture(scope="module")
def learned():
    return performance(120, 1)


@pytest.fixture(scope="module")
def bench(learned):
    return Bench.of(performance(60, 2), cards(), learned)


@pytest.fixture(scope="module")
def ways(learned, bench):
    return choosing.baselines(learned, bench.table, bench.cards, descriptions())


@pytest.fixture(scope="module")
def foreseen(bench):
    """What a router would predict that knows the losses."""
    return [np.exp(-bench.losses).astype(np.float32)]


def picked(shares):
    assert ((shares == 0) | (shares == 1)).all()
    return [EXPERTS[at] for at in shares.argmax(axis=1)]


def test_the_measures_are_what_they_say():
    table = of_losses([[3, 1, 2, 2, 2], [1, 3, 2, 2, 1], [2, 2, 2, 2, 1]], ["a"] * 3)
    bench = Bench.of(table, cards(), of_losses([[2, 2, 2, 1, 2]], ["a"]))
    way = choosing.one_each(np.array([1, 4, 0]), 5)  # best, a tie with the best, 1 nat off
    found = measure(bench, {"way": way}, repeats=50)["way"]
    assert found.selection_accuracy == pytest.approx(2 / 3)
    assert found.mean_loss == pytest.approx((1 + 1 + 2) / 3)
    assert found.regret == pytest.approx(1 / 3)
    assert found.masked_accuracy == pytest.approx((0.8 + 0.8 + 0.6) / 3)
    assert found.mean_parameters == pytest.approx((4e6 + 40e6 + 1e6) / 3)
    assert bench.cards.names[bench.single] == "adder"  # told by the other table; 2 nats here
    assert found.oracle_gap_closed == pytest.approx((2 - 4 / 3) / (2 - 1))
    for name, (low, high) in found.intervals.items():
        assert low <= getattr(found, name) <= high


def test_chance_is_reckoned_and_not_drawn(bench, ways):
    found = measure(bench, {"random": ways["random"]}, repeats=50)["random"]
    assert found.mean_loss == pytest.approx(bench.losses.mean())
    assert found.selection_accuracy == pytest.approx(1 / 5)
    assert found.mean_parameters == pytest.approx(np.mean(PARAMETERS))


def test_intervals_narrow_with_more_prompts_and_hold_the_truth(learned):
    widths = []
    for n in (30, 480):
        bench = Bench.of(performance(n, 5), cards(), learned)
        way = choosing.one_each(np.full(n, 4), 5)
        low, high = measure(bench, {"way": way})["way"].intervals["mean_loss"]
        assert low < np.mean([LOSSES[domain][4] for domain in DOMAINS]) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_each_way_chooses_as_it_is_called(bench, ways):
    assert set(picked(ways["best_single"])) == {"giant"}
    best = {"code": "coder", "law": "lawyer", "sums": "adder"}
    wanted = [best[domain] for domain in bench.table.domains]
    for way in ("per_domain_best", "per_domain_usual", "keywords"):
        assert picked(ways[way]) == wanted, way
    assert np.mean(np.array(picked(ways["descriptions"])) == wanted) > 0.6
    for way in choosing.LEARNED:
        assert np.mean(np.array(picked(ways[way])) == wanted) > 0.9, way
    found = measure(bench, ways, repeats=10)
    assert found["oracle"].selection_accuracy == 1
    assert found["oracle"].oracle_gap_closed == pytest.approx(1)
    assert found["best_single"].oracle_gap_closed == pytest.approx(0)


def test_least_loss_and_most_often_best_are_two_things():
    # In two of three prompts "dot" is a little better, in the third it is much worse.
    table = of_losses([[1.0, 1.1, 4, 4, 4], [1.0, 1.1, 4, 4, 4], [4.0, 1.1, 4, 4, 4]], ["a"] * 3)
    assert choosing._per_domain_best(table, table).tolist() == [1, 1, 1]
    assert choosing._per_domain_usual(table, table).tolist() == [0, 0, 0]


def test_a_domain_that_was_not_learned_gets_the_overall_best():
    learned = of_losses([[3, 1, 2, 2, 2]] * 4, ["a"] * 4)
    test = of_losses([[1, 3, 2, 2, 2]], ["b"])
    assert choosing._per_domain_best(learned, test).tolist() == [1]


def test_seeds_are_averaged_prompt_by_prompt():
    one, other = np.eye(5, dtype=np.float32)[[0, 1]], np.eye(5, dtype=np.float32)[[0, 2]]
    shares = choosing.routed([one, other])
    np.testing.assert_allclose(shares[0], [1, 0, 0, 0, 0])
    np.testing.assert_allclose(shares[1], [0, 0.5, 0.5, 0, 0])


def test_a_lead_is_paired(bench, ways):
    ahead = lead(bench, ways["oracle"], ways["best_single"])
    found = measure(bench, ways, repeats=10)
    assert ahead.loss == pytest.approx(found["best_single"].mean_loss - found["oracle"].mean_loss)
    assert ahead.intervals["loss"][0] > 0
    back = lead(bench, ways["best_single"], ways["oracle"])
    assert back.selection_accuracy == pytest.approx(-ahead.selection_accuracy)


def test_by_domain_and_by_length(bench, ways):
    cells = by_domain(bench, {"oracle": ways["oracle"]})
    assert list(cells) == sorted(DOMAINS)
    code = np.array(bench.table.domains) == "code"
    assert cells["code"]["coder"]["loss"] == pytest.approx(bench.losses[code, 1].mean())
    assert cells["code"]["oracle"]["loss"] == pytest.approx(bench.losses[code].min(axis=1).mean())
    rows = by_length(bench, {"random": ways["random"], "oracle": ways["oracle"]})
    assert [row["prompts"] for row in rows] == [15] * 4
    assert [row["from_tokens"] for row in rows] == [64, 79, 94, 109]
    assert all(row["oracle"] == 1 and row["random"] == pytest.approx(0.2) for row in rows)
    shares = allocation(bench.table.domains, ways["per_domain_best"])
    assert shares == {"code": [0, 1, 0, 0, 0], "law": [0, 0, 1, 0, 0], "sums": [0, 0, 0, 1, 0]}


def test_purity_is_chance_for_noise_and_one_for_clusters():
    rng = np.random.default_rng(0)
    domains = [DOMAINS[row % 3] for row in range(300)]
    noise = rng.normal(size=(300, 8)).astype(np.float32)
    assert purity(noise, domains).mean() == pytest.approx(1 / 3, abs=0.05)
    centres = 10 * np.eye(8, dtype=np.float32)[np.arange(300) % 3]
    assert purity(noise + centres, domains).mean() == 1
    assert purity(noise[:2], domains[:2]).tolist() == [0, 0]  # the other one is all there is


def test_the_sweep_goes_from_the_best_to_the_smallest(bench, foreseen):
    front = sweep.sweep(bench, foreseen, (0.0, 0.01, 0.1, 1.0))
    sizes = [point.mean_parameters for point in front]
    assert sizes == sorted(sizes, reverse=True)
    assert front[0].mean_loss == pytest.approx(bench.losses.min(axis=1).mean())
    assert front[-1].allocation == (1, 0, 0, 0, 0)
    assert all(sum(point.allocation) == pytest.approx(1) for point in front)


def test_flags_are_those_of_the_router(bench, foreseen):
    shares = sweep.flagged(bench, foreseen, Flags(size=0.05))
    quality, cards_ = foreseen[0].astype(np.float64), np.log(PARAMETERS)
    size = (cards_ - cards_.min()) / np.ptp(cards_)
    assert shares.argmax(axis=1).tolist() == (quality - 0.05 * size).argmax(axis=1).tolist()
    denied = sweep.flagged(bench, foreseen, Flags(deny={"coder", "lawyer", "adder"}))
    assert not denied[:, 1:4].any()


def test_low_middle_and_high_are_told_by_the_size():
    def point(size):
        return sweep.Point(1 - size, size, 0.5, 2.0, (1.0,))

    front = [point(size) for size in (1.0, 0.92, 0.6, 0.52, 0.2, 0.1, 0.0)]
    found = sweep.stages(front)
    assert {name: p.mean_parameters for name, p in found.items()} == {
        "low": 0.92,
        "middle": 0.52,
        "high": 0.1,
    }


def test_the_saving_is_the_smallest_that_keeps_the_accuracy_on_validation(learned, bench, foreseen):
    front = sweep.sweep(bench, foreseen, (0.0, 0.02, 0.05, 0.15, 0.18, 0.2, 0.25, 1.0))
    chosen = sweep.saving(front, bench, foreseen)
    point = next(p for p in front if p.weight == chosen.weight)
    later = front[front.index(point) + 1]
    assert point.masked_accuracy >= 0.99 * front[0].masked_accuracy > later.masked_accuracy
    assert chosen.of_best_single == pytest.approx(point.mean_parameters / 40e6)
    assert chosen.accuracy_change == pytest.approx(
        point.masked_accuracy / front[0].masked_accuracy - 1
    )
    alone = bench.accuracy[:, 4].mean()
    assert chosen.change_from_best_single == pytest.approx(point.masked_accuracy / alone - 1)


def test_marks_in_the_prompt_mean_what_they_say(bench, foreseen):
    found = sweep.under_marks(bench, foreseen)
    assert found["[Flag: Smallest model]"].allocation == (1, 0, 0, 0, 0)
    at_zero = sweep.sweep(bench, foreseen, (0.0,))[0]
    assert found["[Flag: Recent model]"].allocation[4] > 0.3 + at_zero.allocation[4]
    assert found["[Flag: size=0.05]"].mean_parameters <= at_zero.mean_parameters
