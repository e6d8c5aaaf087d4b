"""The page in a real browser: what people see, on what screens, and that nothing gets in or out.

Needs Chromium, which is looked for under `TRYAGE_CHROMIUM` and on the path.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.gateway.page_server import Gateway
from tests.gateway.serving import Served, until, upstreams
from tests.gateway.watched import LARGE, MIDDLE, SMALL, FakeState, entry
from tests.servers.scripted_upstream import ScriptedUpstream
from tryage.gateway.entry import Try
from tryage.gateway.settings import Settings
from tryage.gateway.watchers import Watching

CHROMIUM = os.environ.get("TRYAGE_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
POLL_MS = 2000
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
TRAP = '<img src=x onerror="window.trapped = 1"><script>window.trapped = 1</script>'

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here; install one, or name it in TRYAGE_CHROMIUM"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        yield running


@pytest.fixture
def open_page(browser):
    """Opens a page whose clock the test moves; at the end nothing was wrong in any of them."""
    contexts, faults = [], []

    def heard(message):
        # Chromium itself notes each refused or lost request; those are what some tests are about.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            faults.append(message.text)

    def make(url, viewport=DESK, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", heard)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request", lambda request: request.url.startswith(url) or faults.append(request.url)
        )
        page.clock.install()
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page(open_page, gateway) -> Page:
    shown = open_page(gateway.url)
    expect(connection(shown)).to_have_text("Live")
    return shown


def connection(page):
    return page.locator("#connection")


def poll(page):
    """Let the page ask once more: as soon as it has drawn what it was told before."""
    with page.expect_response("**/v1/tryage/status*") as told:
        until(lambda: page.clock.run_for(POLL_MS) or told.is_done())


def poll_until(page, state):
    """Let the page ask until it says that it is connected, or not."""
    until(lambda: page.clock.run_for(POLL_MS) or connection(page).inner_text() == state)


def rows(page):
    return page.get_by_role("list").locator("details")


def open_rows(page, count):
    expect(rows(page)).to_have_count(count)
    for row in rows(page).all():
        row.locator("summary").click()
    expect(page.locator(".why")).to_have_count(count)


def decide(page, prompt="Why is the sky blue?", flags=""):
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Flags", exact=True).fill(flags)
    page.get_by_role("button", name="Decide").click()


def test_it_loads_and_says_that_nothing_happened_yet(page):
    expect(page).to_have_title("Tryage")
    expect(page.get_by_text("No request yet.")).to_be_visible()
    expect(page.get_by_role("row", name=SMALL)).to_contain_text("up")
    expect(page.get_by_role("contentinfo")).to_contain_text("0 entries waiting")


def test_a_decision_appears_while_one_looks_and_tells_why(page, gateway):
    failed = Try(LARGE, 0.0, 0.3, "InternalServerError", 503)
    decision = entry(model=LARGE).decision | {
        "model": SMALL,
        "quality": 0.71,
        "alternatives": [MIDDLE],
    }
    gateway.recent.watch(
        entry(decision=decision, tries=(failed, Try(SMALL, 0.3, 0.44)), input_tokens=12_345)
    )
    poll(page)
    row = rows(page).first
    expect(row.locator("summary")).to_contain_text("2 calls")
    row.locator("summary").click()
    expect(row).to_contain_text(f"{LARGE} led the ranking and did not answer; {SMALL} took over.")
    expect(row).to_contain_text("503 InternalServerError 300 ms")
    expect(row).to_contain_text("quality 0.710, $0.00021, 900 ms")
    expect(row).to_contain_text(f"Next in line{MIDDLE}Calls")
    expect(row).to_contain_text("12,345 in, 187 out")


def test_an_opened_row_stays_open_and_keeps_the_focus_while_others_come(page, gateway):
    gateway.recent.watch(entry(1))
    poll(page)
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    for number in range(2, 4):
        gateway.recent.watch(entry(number))
        poll(page)
    expect(rows(page)).to_have_count(3)
    expect(rows(page).nth(2)).to_have_attribute("open", "")
    expect(rows(page).nth(2).locator("summary")).to_be_focused()


def test_the_figures_are_those_of_the_status(page, gateway):
    for number in range(1234):
        gateway.recent.watch(entry(number, input_tokens=1000, output_tokens=200, cost_usd=0.00027))
    gateway.recent.watch(entry(model=None, status=503, error="AllModelsFailed", cost_usd=None))
    gateway.recent.watch(entry(model=None, status=401, error="invalid_api_key", cost_usd=None))
    poll(page)
    summary = page.locator("#summary")
    expect(summary).to_contain_text("Requests, last hour1,236")
    expect(summary).to_contain_text("Spend$0.333")
    expect(summary).to_contain_text("Saved$5.2294 % against gpt-4o")
    expect(summary).to_contain_text("Median latency741 ms")
    expect(summary).to_contain_text("Errors< 0.1 %1 failed, 1 refused")
    expect(page.get_by_role("img", name="at most 1,236, now 1,236")).to_be_visible()


def test_states_of_models_and_record(page, gateway):
    gateway.live.now = {
        LARGE: FakeState(resting_s=16.2),
        MIDDLE: FakeState(resting_s=3.0, in_flight=1),
        SMALL: FakeState(in_flight=1234),
    }
    gateway.buffer.buffered, gateway.buffer.dropped = 4321, 5
    poll(page)
    expect(page.get_by_role("row", name=f"{LARGE} resting")).to_contain_text("resting 17 s")
    expect(page.get_by_role("row", name=MIDDLE)).to_contain_text("trying")
    expect(page.get_by_role("row", name=SMALL)).to_contain_text("1,234")
    expect(page.get_by_role("contentinfo")).to_contain_text("4,321 entries waiting to be written")
    expect(page.get_by_role("contentinfo")).to_contain_text("5 dropped")


def test_a_prompt_tried_by_hand_shows_the_ranking_with_every_term(page, gateway):
    decide(page, flags="cost=0.3; latency=0.1; deny gpt-4.1-mini")
    ranking = page.get_by_role("region", name="Ranking")
    expect(ranking.get_by_role("columnheader")).to_have_text(
        [
            "Model",
            "Objective",
            "1 − quality",
            "cost",
            "latency",
            "Sum",
            "Costs about",
            "Takes about",
        ]
    )
    expect(ranking.get_by_role("row")).to_have_count(3)
    best = ranking.get_by_role("row").nth(1)
    expect(best).to_contain_text(SMALL)
    loss, cost, latency, total = map(float, best.get_by_role("cell").all_inner_texts()[1:5])
    assert (loss, cost) == (0.29, 0)
    assert loss + cost + latency == pytest.approx(total, abs=0.002)
    expect(page.locator("#ranking")).to_contain_text(f"{SMALL} has the least objective.")
    page.get_by_text("1 model excluded").click()
    expect(page.get_by_text("gpt-4.1-mini: denied")).to_be_visible()
    (body,) = gateway.asked
    assert body["tryage"] == {"flags": "cost=0.3; latency=0.1; deny gpt-4.1-mini"}
    assert body["messages"] == [{"role": "user", "content": "Why is the sky blue?"}]


def test_a_refused_prompt_says_why(page):
    decide(page, flags="cheepest")
    expect(page.locator("#ranking")).to_contain_text("cheepest")
    decide(page)
    expect(page.locator("#ranking")).to_contain_text(f"{LARGE} has the least objective.")


def test_what_others_wrote_stays_text(page, gateway):
    gateway.live.now[TRAP] = FakeState()
    trapped = entry(model=TRAP).decision | {"alternatives": [TRAP]}
    tries = (Try(TRAP, 0.0, 0.1, TRAP),)
    gateway.recent.watch(
        entry(id=TRAP, asked=TRAP, flags=TRAP, model=TRAP, error=TRAP, path=TRAP, tries=tries)
    )
    gateway.recent.watch(entry(asked=TRAP, decision=trapped, model=TRAP))
    poll(page)
    open_rows(page, 2)
    decide(page, prompt=TRAP, flags=TRAP)
    expect(page.locator("#ranking")).to_contain_text("<img")
    expect(page.get_by_role("row", name=TRAP)).to_be_visible()
    expect(page.locator("img, main script")).to_have_count(0)
    assert page.evaluate("window.trapped") is None


def test_a_gateway_that_goes_away_and_comes_back(page, gateway):
    gateway.recent.watch(entry())
    poll(page)
    gateway.__exit__()
    poll_until(page, "Disconnected")
    expect(page.get_by_role("alert").first).to_contain_text("The gateway does not answer.")
    expect(page).to_have_title("Disconnected – Tryage")
    expect(rows(page)).to_have_count(1)
    decide(page)
    expect(page.locator("#ranking")).to_contain_text("The gateway does not answer.")
    gateway.__enter__()
    poll_until(page, "Live")
    expect(page.locator("#disconnected")).to_be_hidden()


def test_another_process_on_the_same_port_starts_the_list_anew(page, gateway):
    for number in range(3):
        gateway.recent.watch(entry(number))
    poll(page)
    gateway.__exit__()
    with Gateway(port=gateway.port) as second:
        second.recent.watch(entry(id="of-the-second"))
        poll(page)
        expect(rows(page)).to_have_count(1)
        rows(page).first.locator("summary").click()
        expect(rows(page)).to_contain_text("of-the-second")
    gateway.__enter__()


def test_a_hidden_tab_asks_nothing(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.clock.run_for(POLL_MS)  # the last timer of before
    asked.clear()
    page.clock.run_for(20 * POLL_MS)
    assert asked == []
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
    with page.expect_response("**/v1/tryage/status*"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_key_is_asked_for_and_stays_in_the_tab(open_page, gateway):
    gateway.key = "the-key"
    gateway.recent.watch(entry())
    page = open_page(gateway.url)
    expect(connection(page)).to_have_text("Key needed")
    expect(page.get_by_label("Key that may see")).to_be_focused()
    expect(page.locator("#figures")).to_be_hidden()
    page.get_by_label("Key that may see").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("that key is not known")).to_be_visible()
    page.get_by_label("Key that may see").fill("the-key")
    page.get_by_role("button", name="Use key").click()
    expect(connection(page)).to_have_text("Live")
    expect(rows(page)).to_have_count(1)
    decide(page)
    expect(page.get_by_role("region", name="Ranking")).to_be_visible()
    kept = "[Object.values(sessionStorage), localStorage.length, document.cookie, location.href]"
    assert page.evaluate(kept) == [["the-key"], 0, "", gateway.url]
    page.get_by_role("button", name="Forget key").click()
    expect(connection(page)).to_have_text("Key needed")
    expect(page.locator("#figures")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


def test_over_the_real_gateway(open_page):
    with ScriptedUpstream() as upstream:
        parts = {"upstreams": upstreams(upstream.base_url)}
        watching = Watching(Settings.model_validate(parts))
        with Served(parts, routes=watching.routes) as served:
            served.gateway.watchers = watching.watchers
            page = open_page(f"{served.url}/")
            expect(connection(page)).to_have_text("Live")
            asked = [{"role": "user", "content": "Hello"}]
            served.client().chat.completions.create(model="tryage", messages=asked)
            served.idle()
            poll(page)
            expect(rows(page)).to_have_count(1)
            rows(page).locator("summary").click()
            expect(rows(page)).to_contain_text("first led the ranking, and answered.")
            decide(page, flags="cost=0.3")
            ranking = page.get_by_role("region", name="Ranking")
            expect(ranking.get_by_role("rowheader")).to_have_text(["first", "second", "third"])
            decide(page, flags="cheepest")
            expect(page.locator("#ranking")).to_contain_text("cheepest")


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen_and_is_accessible(open_page, gateway, viewport, scheme):
    long = "an-organisation/with-a-rather-long-model-name-and-a-date-2026-05-01"
    gateway.live.now[LARGE] = FakeState(resting_s=9)
    gateway.live.now[long] = FakeState(resting_s=3, in_flight=1)
    failed = Try(long, 0.0, 0.3, "RemoteProtocolError", 502)
    gateway.recent.watch(entry(1, asked="x" * 200, flags="allow " + long))
    gateway.recent.watch(entry(2, model=long, error="StreamBroken", tries=(failed, failed)))
    gateway.recent.watch(entry(3, model=None, status=503, error="AllModelsFailed", decision={}))
    page = open_page(gateway.url, viewport, scheme)
    decide(page, prompt="x" * 500, flags="cost=0.3; latency=0.1; size=0.1; recency=0.1")
    expect(page.get_by_role("region", name="Ranking")).to_be_visible()
    open_rows(page, 3)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == viewport["width"]
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
