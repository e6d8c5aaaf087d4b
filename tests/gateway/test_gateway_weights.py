"""The gateway before real weights behind a real server."""

from __future__ import annotations

import openai
import pytest

from tests.gateway.serving import Served, upstreams
from tests.servers.weights_server import ENDLESS, WeightsServer

SAID = [{"role": "user", "content": "Tell me a story."}]


@pytest.fixture(scope="module")
def weights():
    """A server of this module's own, since the last test kills it."""
    with WeightsServer() as running:
        yield running


@pytest.fixture(scope="module")
def served(weights):
    models = upstreams("http://127.0.0.1:9/v1", ["first"]) + upstreams(
        weights.base_url, ["second"], model=weights.model
    )
    with Served({"upstreams": models}) as gateway:
        yield gateway


def test_a_model_that_is_down_gives_way_to_real_weights(served):
    answer = served.client().chat.completions.with_raw_response.create(
        model="tryage", messages=SAID, max_tokens=12, temperature=0
    )

    assert answer.headers["x-tryage-model"] == "second"
    said = answer.parse()
    assert said.choices[0].message.content
    assert said.usage.completion_tokens <= 12
    entry = served.entry()
    assert entry.output_tokens == said.usage.completion_tokens
    assert entry.cost_usd > 0


def test_the_stream_of_real_weights_says_what_the_whole_answer_says(served, weights):
    options = {"messages": SAID, "max_tokens": 16, "temperature": 0}
    client = served.client()
    whole = client.chat.completions.create(model="tryage", **options).choices[0].message.content
    stream = client.chat.completions.create(model="tryage", stream=True, **options)
    direct = openai.OpenAI(base_url=weights.base_url, api_key="none")
    alone = direct.chat.completions.create(model=weights.model, **options)

    streamed = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert streamed == whole == alone.choices[0].message.content


def test_a_server_that_is_killed_in_mid_stream_is_told_of(served, weights):
    stream = served.client().chat.completions.create(
        model="tryage",
        messages=SAID,
        stream=True,
        max_tokens=ENDLESS["max_tokens"],
        logit_bias=ENDLESS["logit_bias"],
    )

    def listen():
        for number, _ in enumerate(stream):
            if number == 5:
                weights.kill()

    with pytest.raises(openai.APIError) as broken:
        listen()
    assert broken.value.code == "stream_broken"
    assert served.entry().error == "ConnectionBroke"
