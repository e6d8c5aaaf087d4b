"""An OpenAI-compatible server that routes: `tryage serve`."""
