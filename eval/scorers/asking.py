"""Text-only requests to a language model: each prompt once, kept replies first, failures counted and not kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.errors import BackendError, PermanentBackendError
from lalm_agent.eval.scorers.cache import ReplyCache, request_key
from lalm_agent.models.base import LALM, Decoding, Request, Turn
from lalm_agent.reasoning import strip_reasoning

Progress = Callable[[int, int], None]
"""Called with how many of the prompts to be asked are done, and how many there are."""

CHUNK = 32
"""Prompts in one `generate` call: enough for an endpoint's concurrency, few enough to lose little by a kill."""
GIVE_UP_AFTER = 5
"""Failures in a row, each of one prompt alone, after which the model counts as dead."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a call.

    replies: in the order of the prompts; None where the request failed or was given up.
    asked: how many different prompts went out; the others were kept ones.
    error: the first failure, for whoever has to mend it; None where there was none.
    """

    replies: tuple[str | None, ...]
    asked: int
    error: BackendError | None


class TextAsker:
    """Asks one model greedily. A reply is kept as the model wrote it and handed out without its hidden reasoning.

    Args:
        model: the model; a request has no clip.
        max_new_tokens: the limit of a reply.
        cache: a file for the replies, or None.
        progress: told after every chunk.
    """

    def __init__(
        self, model: LALM, max_new_tokens: int, cache: Path | None = None, progress: Progress | None = None
    ) -> None:
        """Nothing is asked or read yet."""
        self._model = model
        self._decoding = Decoding(max_new_tokens)
        self._cache = ReplyCache(cache)
        self._progress = progress or (lambda done, total: None)

    def __call__(self, prompts: Sequence[str]) -> Asked:
        """A reply to each prompt. Failures of the model are not raised but returned.

        Raises:
            UsageError: a request that the model's interface cannot express, or the cache is another process's.
            DataError: the cache cannot be read or written.
        """
        keys = {prompt: request_key(self._model.spec.info, prompt, self._decoding.max_new_tokens) for prompt in prompts}
        error: BackendError | None = None
        with self._cache.opened():
            missing = [prompt for prompt, key in keys.items() if self._cache.get(key) is None]
            for done, (prompt, answer) in enumerate(zip(missing, self._answers(missing), strict=False), 1):
                if isinstance(answer, str):
                    self._cache.put(keys[prompt], answer)
                else:
                    error = error or answer
                self._progress(done, len(missing))
        kept = (self._cache.get(keys[prompt]) for prompt in prompts)
        return Asked(tuple(None if reply is None else _said(reply) for reply in kept), len(missing), error)

    def _answers(self, prompts: list[str]) -> Iterator[str | BackendError]:
        """One for each prompt, in order; they end early where the model is given up."""
        in_a_row = 0
        for start in range(0, len(prompts), CHUNK):
            for answer in self._chunk(prompts[start : start + CHUNK]):
                yield answer
                in_a_row = 0 if isinstance(answer, str) else in_a_row + 1
                if in_a_row == GIVE_UP_AFTER:
                    return

    def _chunk(self, prompts: list[str]) -> Iterator[str | BackendError]:
        """All at once; where that fails one by one, because one refused prompt fails all that go with it."""
        try:
            responses = self._model.generate([self._request(prompt) for prompt in prompts])
        except BackendError as error:
            if len(prompts) == 1:
                yield error
                return
            for prompt in prompts:
                yield from self._chunk([prompt])
            return
        for response in responses:
            text = response.completions[0].text
            yield (
                text
                if _said(text)
                else PermanentBackendError(
                    f"{self._model.spec.info.ref} replied with nothing in {self._decoding.max_new_tokens} tokens",
                    "a model that reasons at length may need another one, or its reasoning switched off",
                )
            )

    def _request(self, prompt: str) -> Request:
        return Request((Turn("user", prompt),), None, self._decoding)


def _said(reply: str) -> str:
    """The reply without its reasoning; empty where it ended inside that."""
    return strip_reasoning(reply).strip()
