"""A program asks through the gateway with the `openai` client.

    python examples/gateway_clients.py

Runs offline: the upstream is a few lines that stand in for a provider, and the gateway runs in this
process. For real ones, list them in a file and run `tryage serve --config FILE` instead.
"""

import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai import OpenAI

from tryage.gateway.assembly import assemble
from tryage.gateway.serve import listen, server_of
from tryage.gateway.settings import Settings


class Upstream(BaseHTTPRequestHandler):
    """Answers in the name of whichever model is asked for."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = f"{asked['model']} heard: {asked['messages'][-1]['content']}"
        message = {"role": "assistant", "content": text}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21},
        }
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
threading.Thread(target=upstream.serve_forever, daemon=True).start()
base_url = f"http://127.0.0.1:{upstream.server_address[1]}/v1"

folder = tempfile.TemporaryDirectory()
settings = Settings.model_validate(
    {
        "server": {"port": 0, "reference": "gpt-5"},
        "record": {"url": f"sqlite:///{folder.name}/tryage.db"},
        "upstreams": [
            {"name": "gpt-5", "base_url": base_url},
            {"name": "gpt-4o-mini", "base_url": base_url},
        ],
    }
)
bound = listen(settings.server)
gateway = server_of(assemble(settings), settings.server)
serving = threading.Thread(target=gateway.run, args=([bound],))
serving.start()
address = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"

with OpenAI(base_url=address, api_key="none") as client:
    for model in ("tryage", "tryage:cheapest", "tryage:cost=0.2", "gpt-5"):
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "Why is the sky blue?"}]
        )
        cost = raw.headers["x-tryage-cost-usd"]
        print(f"{model:16} ${cost:10} {raw.parse().choices[0].message.content}")

    told = client.chat.completions.create(
        model="tryage",
        messages=[{"role": "user", "content": "Hi!"}],
        extra_body={"tryage": {"flags": "smallest; max cost $0.01", "report": True}},
    )
    print(json.dumps(told.model_extra["tryage"], indent=2))

gateway.should_exit = True
serving.join()
bound.close()
upstream.shutdown()
upstream.server_close()
folder.cleanup()
