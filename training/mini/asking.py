"""Asking a finished model in batches, through the official processor and `generate`, as any user of it would."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent import prompts
from lalm_agent.errors import UsageError
from lalm_agent.records import AudioType, Method
from lalm_agent.training.mini.exam import Asked
from lalm_agent.training.mini.features import at_least_minimum
from lalm_agent.training.synth.records import Clip

_BATCH = 32
_LENGTHS = {Method.BASELINE: 40, Method.IDK: 40, Method.AGENT: 40, Method.MCOT: 96}
_CONTENT_LENGTH = 32
_TYPE_LENGTH = 4

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model with its processor."""

    processor: Any
    network: Any

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Load an exported folder, in float32.

        Raises:
            UsageError: there is no model in the folder.
        """
        if not (folder / "config.json").is_file():
            raise UsageError(f"{folder} holds no model", "give the folder that the training exported")
        import torch
        from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

        network = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        return cls(AutoProcessor.from_pretrained(folder), network.eval())

    def reply(self, clips: Sequence[Samples], texts: Sequence[str], length: int) -> list[str]:
        """The greedy replies to one text about each clip."""
        # Similar lengths together: a batch is as long as its longest prompt.
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), len(clips[i])))
        replies = [""] * len(texts)
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            made = self._generate([clips[i] for i in chosen], [texts[i] for i in chosen], length)
            for i, reply in zip(chosen, made, strict=True):
                replies[i] = reply
        return replies

    def _generate(self, clips: list[Samples], texts: list[str], length: int) -> list[str]:
        import torch

        conversations = [_conversation(clip, text) for clip, text in zip(clips, texts, strict=True)]
        inputs = self.processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        with torch.inference_mode():
            out = self.network.generate(**inputs, max_new_tokens=length, do_sample=False)
        new = out[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self.processor.batch_decode(new, skip_special_tokens=True)]


def _conversation(clip: Samples, text: str) -> list[dict[str, Any]]:
    heard, asked = {"type": "audio", "audio": at_least_minimum(clip)}, {"type": "text", "text": text}
    return [{"role": "user", "content": [heard, asked]}]


def ask_types(model: Model, clips: Sequence[Clip]) -> list[str]:
    """The replies to the type prompt."""
    return model.reply([clip.samples for clip in clips], [prompts.type_prompt()] * len(clips), _TYPE_LENGTH)


def replies_to(model: Model, exam: Sequence[Asked], method: Method) -> list[str]:
    """The replies to the method's answering prompt; the agent's first two steps are asked first."""
    samples = [asked.clip.samples for asked in exam]
    found: list[tuple[AudioType | None, str | None]] = [(None, None)] * len(exam)
    if method is Method.AGENT:
        found = _found(model, [asked.clip for asked in exam])
    texts = [
        prompts.answer_prompt(method, asked.question.text, asked.question.choices, audio_type, content)
        for asked, (audio_type, content) in zip(exam, found, strict=True)
    ]
    return model.reply(samples, texts, _LENGTHS[method])


def _found(model: Model, clips: Sequence[Clip]) -> list[tuple[AudioType | None, str | None]]:
    """Type and content of each clip in the model's own words; nothing where its type is none of the three."""
    names = {str(kind) for kind in AudioType}
    types = [AudioType(reply.lower()) if reply.lower() in names else None for reply in ask_types(model, clips)]
    texts = [prompts.content_prompt(kind or AudioType.SOUND) for kind in types]
    contents = model.reply([clip.samples for clip in clips], texts, _CONTENT_LENGTH)
    return [(kind, content) if kind else (None, None) for kind, content in zip(types, contents, strict=True)]
