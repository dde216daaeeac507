"""What the processor made of prompts, kept for a model that is asked the same under several adapters.

A prompt's tokens, a clip's mel features and an option's tokens hang on the processor alone, never on the weights. On a
small model, making them takes as long as the forward passes.
"""

from typing import Any

from lalm_agent.models.base import Request
from lalm_agent.models.hf_asked import Asked
from lalm_agent.models.hf_decoding import stop_ids
from lalm_agent.models.hf_loading import Checkpoint
from lalm_agent.models.hf_prompt import batch_inputs, option_tokens


class KeptInputs:
    """Makes a checkpoint's inputs, and keeps them as far as there is room. One thread at a time.

    What does not fit any more is made each time: questions that are asked in the same order again and again would
    push each other out of a memory that drops the oldest.

    Args:
        checkpoint: whose processor and device.
        most_bytes: of the tensors that are kept; with 0 nothing is.
    """

    def __init__(self, checkpoint: Checkpoint, most_bytes: int = 0) -> None:
        """Nothing is kept yet."""
        self._checkpoint = checkpoint
        self._left = most_bytes
        self._inputs: dict[object, Any] = {}
        self._options: dict[object, list[list[int]]] = {}

    def of(self, asked: Asked) -> Any:
        """The processor's BatchFeature of one prompt, on the model's device; not to be written to.

        Raises:
            PermanentBackendError: as `batch_inputs`.
        """
        found = self._inputs.get(asked.prompt)
        if found is None:
            model = self._checkpoint.model
            made = batch_inputs(self._checkpoint.processor, [asked.request], [asked.samples])
            found = made.to(model.device, model.dtype)
            nbytes = sum(value.nbytes for value in found.values())
            if nbytes <= self._left:
                self._left -= nbytes
                self._inputs[asked.prompt] = found
        return found

    def options(self, request: Request) -> list[list[int]]:
        """Token ids of each of a request's options, as `option_tokens` says it. Raises as that does."""
        key = request.turns, request.options
        found = self._options.get(key)
        if found is None:
            found = option_tokens(self._checkpoint.processor, request, stop_ids(self._checkpoint.model))
            nbytes = 8 * sum(map(len, found))
            if nbytes <= self._left:
                self._left -= nbytes
                self._options[key] = found
        return found
