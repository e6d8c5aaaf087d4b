"""LangChain's own standard tests, over a local server that speaks OpenAI's API."""

from __future__ import annotations

from typing import Any

import langchain_tests.integration_tests.chat_models as integration
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_tryage import ChatTryage
from tests.servers.openai_server import OpenAIServer
from tryage.testing import FunctionPredictor

# What ChatOpenAI and the suite themselves warn of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
    pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema"),
    pytest.mark.filterwarnings("ignore:OpenAI may require a filename"),
    pytest.mark.filterwarnings("ignore:LANGCHAIN_TESTS_USER_AGENT"),
]

NAMES = ("small", "medium", "large", "huge", "other")

short_prompts_to_small = FunctionPredictor(
    lambda prompt, model: 0.9 if (model == "small") == (len(prompt) < 40) else 0.5
)


class TestUnit(ChatModelUnitTests):
    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "none")

    @property
    def chat_model_class(self) -> type[ChatTryage]:
        return ChatTryage

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "models": ["openai:small", "openai:large"],
            "base_url": "http://127.0.0.1:9/v1",
            "stream_usage": True,
        }

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "from-env"}, self.chat_model_params, {"model_name": "tryage"}

    @pytest.fixture
    def snapshot(self) -> _Anything:
        """Stands for any serialised form; ours is looked at in test_chat_description.py."""
        return _Anything()

    @pytest.mark.xfail(
        raises=ValueError, reason="langchain_core loads classes of the packages that it lists only"
    )
    def test_serdes(self, model: BaseChatModel, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


class _Integration(ChatModelIntegrationTests):
    candidates: int

    @pytest.fixture(autouse=True)
    def _serve(self, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base_url = server.base_url
        monkeypatch.setattr(integration.httpx, "get", lambda *_, **__: _Downloaded())

    @property
    def chat_model_class(self) -> type[ChatTryage]:
        return ChatTryage

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "models": [
                ChatOpenAI(
                    model=name,
                    base_url=self.base_url,
                    api_key="none",
                    stream_usage=True,
                    max_retries=0,
                )
                for name in NAMES[: self.candidates]
            ],
            "predictor": short_prompts_to_small,
        }

    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_anthropic_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    model_override_value = "another"


class TestTwoCandidates(_Integration):
    candidates = 2


class TestFiveCandidates(_Integration):
    candidates = 5


class _Anything:
    def __call__(self, name: str) -> _Anything:
        return self

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class _Downloaded:
    """What the tests that fetch an image or a sound from the web get instead."""

    content = b"bytes"

    def raise_for_status(self) -> None:
        pass
