"""Chat models of transformers behind the LALM protocol, one path for all families in `hf_families` and `text_lm`.

What a request costs is told in `engine`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lalm_agent.audio import Sound
from lalm_agent.errors import LalmError, PermanentBackendError
from lalm_agent.models.base import ModelSpec, Request, Response
from lalm_agent.models.hf_adapters import adapter_files, refuse_other_weights
from lalm_agent.models.hf_asked import Asked, digest
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint, weights_sha256
from lalm_agent.models.hf_prompt import hearing_of, protect_from_control_tokens, waveform

if TYPE_CHECKING:
    from lalm_agent.models.kept_inputs import KeptInputs


def load(ref: str, options: LoadOptions | None = None) -> "TransformersLALM":
    """Load a checkpoint by folder or hub id; see `hf_loading.load_checkpoint` for what is refused."""
    return TransformersLALM(load_checkpoint(ref, options or LoadOptions()))


class TransformersLALM:
    """A checkpoint that answers requests.

    Args:
        checkpoint: what `load_checkpoint` returned.
        batch_rows: how many completions at most go through the model at once.
        ref: the reference to record in place of the checkpoint's own (`mini` for the embedded model).
        inputs: what this model and those `with_adapter` share of what they are asked; None to keep nothing.

    Raises:
        PermanentBackendError: control tokens in a user's text cannot be kept from the model.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        batch_rows: int = 8,
        ref: str | None = None,
        inputs: "KeptInputs | None" = None,
    ) -> None:
        """Check the tokenizer once; nothing is computed yet."""
        from lalm_agent.models.engine import Engine

        self._checkpoint = checkpoint
        self._inputs = inputs
        # Of its own for each adapter: what is kept of a clip is what this adapter heard.
        self._engine = Engine(checkpoint, batch_rows, inputs)
        self._hearing = hearing_of(checkpoint.processor, checkpoint.family)
        self._batch_rows = batch_rows
        self._adapter: str | None = None
        info = checkpoint.info if ref is None else replace(checkpoint.info, ref=ref)
        window_s = self._hearing.window_s if self._hearing else None
        self._spec = ModelSpec(info, window_s, checkpoint.device, checkpoint.dtype, checkpoint.family.hears)
        protect_from_control_tokens(checkpoint.processor, info.ref)

    def with_adapter(self, folder: str | Path) -> "TransformersLALM":
        """The same weights with a PEFT adapter on top; this object goes on answering without it.

        Raises:
            UsageError: no such folder, an adapter of another model, or of other weights of the same shapes.
            DataError: no PEFT folder, or damaged files.
        """
        path = Path(folder).expanduser()
        refuse_other_weights(path, self._spec.info.weights_sha256, self._spec.info.ref)
        name = self._checkpoint.adapters.add(path, self._checkpoint.info.ref)
        adapted = TransformersLALM(self._checkpoint, self._batch_rows, inputs=self._inputs)
        adapted._adapter = name
        info = replace(self._spec.info, adapter_sha256=weights_sha256(adapter_files(path)))
        adapted._spec = replace(self._spec, info=info)
        return adapted

    @property
    def spec(self) -> ModelSpec:
        """The weights, the window in seconds, device and dtype."""
        return self._spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request. Errors of the library come as `PermanentBackendError`."""
        import torch

        try:
            with torch.inference_mode(), self._checkpoint.adapters.on(self._adapter):
                return self._generate(requests)
        except LalmError:
            raise
        except torch.OutOfMemoryError as error:
            raise PermanentBackendError(
                "the device ran out of memory", "try --dtype bfloat16, --device cpu, or a shorter clip"
            ) from error
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PermanentBackendError(f"the model {self._spec.info.ref} failed: {reason}") from error

    def _generate(self, requests: Sequence[Request]) -> list[Response]:
        heard = [self._heard(request.sound) if request.sound else None for request in requests]
        clips: dict[int, str] = {}
        asked = []
        for request, entry in zip(requests, heard, strict=True):
            if entry and id(request.sound) not in clips:
                clips[id(request.sound)] = digest(entry[0])
            asked.append(Asked(request, entry[0], clips[id(request.sound)]) if entry else Asked(request))
        responses = []
        for request, entry, found in zip(requests, heard, self._engine.answers(asked), strict=True):
            heard_s = entry[1] if entry else None
            warnings = _window_warning(request, heard_s)
            responses.append(Response(found.completions, found.option_scores, heard_s, found.audio_tokens, warnings))
        return responses

    def _heard(self, sound: Sound) -> tuple[NDArray[np.float32], tuple[float, float]]:
        if self._hearing is None:
            raise PermanentBackendError(
                f"this model takes text only and cannot hear the clip: {self._spec.info.ref} is a "
                f"{self._checkpoint.family.model}",
                "name a model that hears; --text-only asks this one without the clip",
            )
        return waveform(sound, self._hearing)


def _window_warning(request: Request, heard_s: tuple[float, float] | None) -> tuple[str, ...]:
    if request.sound is None or heard_s is None or heard_s[1] >= request.sound.ref.seconds:
        return ()
    whole = request.sound.ref.seconds
    return (
        f"the model hears {heard_s[1]:.1f} s at once: it heard the clip's first {heard_s[1]:.1f} s of {whole:.1f} s",
    )
