"""The same call made synchronously and asynchronously, so that both pass the same assertions."""

from __future__ import annotations

from typing import Any


class Sync:
    """Makes calls through `invoke` and `stream`."""

    async def invoke(self, model: Any, /, *arguments: Any, **kwargs: Any) -> Any:
        return model.invoke(*arguments, **kwargs)

    async def stream(self, model: Any, /, *arguments: Any, **kwargs: Any) -> list[Any]:
        return list(model.stream(*arguments, **kwargs))

    async def read(self, model: Any, chunks: list[Any], /, *arguments: Any, **kwargs: Any) -> None:
        """Append the chunks of a stream one by one, so that those before an error are kept."""
        for chunk in model.stream(*arguments, **kwargs):
            chunks.append(chunk)

    async def batch(self, model: Any, /, *arguments: Any, **kwargs: Any) -> list[Any]:
        return model.batch(*arguments, **kwargs)

    async def generate(self, model: Any, /, *arguments: Any, **kwargs: Any) -> Any:
        return model.generate(*arguments, **kwargs)

    async def inner_generate(self, model: Any, messages: Any) -> Any:
        return model._generate(messages)

    async def inner_stream(self, model: Any, messages: Any) -> list[Any]:
        return list(model._stream(messages))


class Async:
    """Makes calls through `ainvoke` and `astream`."""

    async def invoke(self, model: Any, /, *arguments: Any, **kwargs: Any) -> Any:
        return await model.ainvoke(*arguments, **kwargs)

    async def stream(self, model: Any, /, *arguments: Any, **kwargs: Any) -> list[Any]:
        return [chunk async for chunk in model.astream(*arguments, **kwargs)]

    async def read(self, model: Any, chunks: list[Any], /, *arguments: Any, **kwargs: Any) -> None:
        async for chunk in model.astream(*arguments, **kwargs):
            chunks.append(chunk)

    async def batch(self, model: Any, /, *arguments: Any, **kwargs: Any) -> list[Any]:
        return await model.abatch(*arguments, **kwargs)

    async def generate(self, model: Any, /, *arguments: Any, **kwargs: Any) -> Any:
        return await model.agenerate(*arguments, **kwargs)

    async def inner_generate(self, model: Any, messages: Any) -> Any:
        return await model._agenerate(messages)

    async def inner_stream(self, model: Any, messages: Any) -> list[Any]:
        return [chunk async for chunk in model._astream(messages)]


Way = Sync | Async
