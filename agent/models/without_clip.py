"""Any model, asked by its text alone: a text-only model at all, or a blind control of one that hears."""

from collections.abc import Sequence
from dataclasses import replace

from lalm_agent.models.base import DEAF, LALM, ModelSpec, Request, Response


class WithoutClip:
    """A model that is never given the clip; each response to a request that had one says so."""

    def __init__(self, model: LALM) -> None:
        """Keep the model as `inner`."""
        self.inner = model

    @property
    def spec(self) -> ModelSpec:
        """The model's own, of one that does not hear."""
        return replace(self.inner.spec, window_s=None, hears_audio=False)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request by its text; raises what the model raises."""
        responses = self.inner.generate([replace(request, sound=None) for request in requests])
        return [
            replace(response, heard_s=None, audio_tokens=None, warnings=_with(DEAF, response.warnings))
            if request.sound is not None
            else response
            for request, response in zip(requests, responses, strict=True)
        ]


def _with(warning: str, warnings: tuple[str, ...]) -> tuple[str, ...]:
    return (warning, *(one for one in warnings if one != warning))
