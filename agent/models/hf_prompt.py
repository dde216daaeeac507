"""Requests -> model inputs, by the checkpoint's own processor and chat template.

Everything in a turn is data: control tokens written in it are encoded as plain text, and a tokenizer on which that
has no effect is refused.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lalm_agent.errors import DataError, LalmError, PermanentBackendError
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.hf_families import (
    Family,
    TextProcessor,
    audio_front_end,
    audio_token_id,
    memory_limit,
    time_limit,
)

_LONGEST_TEXT = 1_000_000
"""Characters of a prompt of a few words and of all control tokens."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """The audio settings of a checkpoint. rate: Hz; window_s: longest clip it takes in, in seconds, None: any."""

    rate: int
    window_s: float | None
    audio_token_id: int


def hearing_of(processor: Any, family: Family) -> Hearing | None:
    """Read the settings off the processor; None for a model that takes text only.

    Raises:
        DataError: the processor's sampling rate is no positive number.
    """
    if not family.hears:
        return None
    rate = audio_front_end(processor).sampling_rate
    if not isinstance(rate, int) or rate < 1:
        raise DataError(f"the processor's sampling_rate is {rate!r}", "restore the checkpoint's preprocessor files")
    return Hearing(rate, family.window(processor), audio_token_id(processor))


class FrontEndMemory:
    """An audio front end that keeps what it made of the last clip: several prompts about one clip need it once.

    A clip is known by where its samples lie in memory, which nobody writes to. One thread at a time.
    """

    def __init__(self, front_end: Any) -> None:
        self._front_end = front_end
        self._clip: Any = None
        self._name: object = None
        self._features: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._front_end, name)

    def __call__(self, audio: Any, **settings: Any) -> Any:
        """The front end's BatchFeature; of several clips it is made anew."""
        if not isinstance(audio, list) or len(audio) != 1:
            return self._front_end(_writable(audio), **settings)
        # Each call of `Sound.mono` gives another view of a clip's samples.
        name = audio[0].ctypes.data, audio[0].shape, audio[0].strides, settings
        if name != self._name:
            self._features = of_own_frames(self._front_end, audio, settings)
            # The array, too, so that nothing else comes to lie where it does.
            self._name, self._clip = name, audio[0]
        # A processor renames and takes away members.
        return copy.copy(self._features)


def of_own_frames(front_end: Any, audio: list[NDArray[np.float32]], settings: dict[str, Any]) -> Any:
    """What a front end makes of a clip, (n_samples,), in a list; Whisper's without computing its padding.

    It pads each clip with silence to its window, so that each costs the same. All frames that lie behind the clip by
    more than the width of a transform are equal, and one of them serves for all.
    """
    width, window = getattr(front_end, "n_fft", 0), settings.get("max_length") or getattr(front_end, "n_samples", 0)
    fills = settings.get("padding", "max_length") == "max_length" and settings.get("return_tensors") == "pt"
    plain = type(front_end).__name__ == "WhisperFeatureExtractor" and not front_end.dither
    if not (plain and fills) or settings.keys() & {"do_normalize", "pad_to_multiple_of"}:
        return front_end(_writable(audio), **settings)
    hop = front_end.hop_length
    frames = -(-(len(audio[0]) + width) // hop) + 1
    missing = window // hop - frames
    if missing <= 0 or window % hop:
        return front_end(audio, **settings)
    made = front_end(audio, **{**settings, "max_length": frames * hop})
    features = made["input_features"]
    silence = features[..., -1:].expand(*features.shape[:-1], missing)
    made["input_features"] = torch.cat([features, silence], dim=-1)
    if "attention_mask" in made:
        made["attention_mask"] = torch.nn.functional.pad(made["attention_mask"], (0, missing))
    return made


def _writable(audio: Any) -> Any:
    """Clips as torch takes them without a warning: a copy of each that nobody may write to."""
    return [clip if clip.flags.writeable else clip.copy() for clip in audio] if isinstance(audio, list) else audio


def remember_clips(processor: Any) -> None:
    """Give the front end of a processor that hears a memory, unless it has one."""
    name = "audio_processor" if getattr(processor, "audio_processor", None) else "feature_extractor"
    front_end = getattr(processor, name)
    if not isinstance(front_end, FrontEndMemory):
        setattr(processor, name, FrontEndMemory(front_end))


Clips = NDArray[np.float32] | tuple[NDArray[np.float32], ...] | None
"""A request's clip, (n_samples,), or its clips; None where it has none."""


def batch_inputs(processor: Any, requests: Sequence[Request], sounds: Sequence[Clips]) -> Any:
    """Tokenised, left-padded inputs for requests that all have a clip, or all have none.

    Returns:
        The processor's BatchFeature: input_ids and attention_mask (batch, tokens) int64, and with clips the features.

    Raises:
        PermanentBackendError: a request's clip became no audio tokens.
    """
    if isinstance(processor, TextProcessor):
        return processor.batch_inputs([request.turns for request in requests], **_ending(requests[0].turns))
    conversations = [conversation(request.turns, sound) for request, sound in zip(requests, sounds, strict=True)]
    if sounds[0] is not None and any(turn.clip_at for request in requests for turn in request.turns):
        require_place(processor)
    # Padding is asked for the text alone: each front end pads clips in its own way.
    settings: dict[str, Any] = {"text_kwargs": {"padding": True}, "return_tensors": "pt"}
    if sounds[0] is not None:
        settings["sampling_rate"] = audio_front_end(processor).sampling_rate
    inputs = processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        sanitize_control_tokens=True,
        processor_kwargs=settings,
        **_ending(requests[0].turns),
    )
    if sounds[0] is not None and (audio_token_counts(processor, inputs["input_ids"]) == 0).any():
        raise PermanentBackendError(
            "the clip became no audio tokens in the prompt: the model would answer without hearing it",
            "the checkpoint's chat template or processor does not place the audio",
        )
    for sound, ids in zip(sounds, inputs["input_ids"], strict=True):
        if isinstance(sound, tuple) and _runs(ids == audio_token_id(processor)) < len(sound):
            raise PermanentBackendError(
                f"{len(sound)} clips became fewer stretches of audio in the prompt: the model would not hear them all",
                "name a model that takes several clips",
            )
    return inputs


def _runs(mask: Any) -> int:
    """How many stretches of True there are in a mask (n,)."""
    return int((mask[1:] & ~mask[:-1]).sum()) + int(mask[0])


def audio_token_counts(processor: Any, input_ids: Any) -> Any:
    """How many positions of each prompt are audio: (batch,) int64."""
    if isinstance(processor, TextProcessor):
        return input_ids.new_zeros(len(input_ids))
    return (input_ids == audio_token_id(processor)).sum(dim=1)


def audio_end(processor: Any, input_ids: Any) -> int:
    """How many tokens one prompt (tokens,) has up to the end of its clip; it has one."""
    return int((input_ids == audio_token_id(processor)).nonzero()[-1]) + 1


def option_tokens(processor: Any, request: Request, stop_ids: set[int]) -> list[list[int]]:
    """Token ids of each option as the assistant's reply to the request, up to and with the end of turn.

    Raises:
        PermanentBackendError: the chat template writes a reply's beginning otherwise than its own generation prompt.
    """
    turns, begun = request.turns, ""
    prompt = _text_ids(processor, turns, **_ending(turns))
    if turns[-1].role == "assistant":
        turns, begun = turns[:-1], turns[-1].text
    replies = []
    for ids in _all_text_ids(processor, [(*turns, Turn("assistant", begun + option)) for option in request.options]):
        if ids[: len(prompt)] != prompt or len(ids) <= len(prompt):
            raise PermanentBackendError(
                "options cannot be scored: the chat template writes a reply otherwise than its generation prompt "
                "begins it",
                "use --answer-mode generate",
            )
        tokens = ids[len(prompt) :]
        end = next((i for i, token in enumerate(tokens) if token in stop_ids), len(tokens) - 1)
        replies.append(tokens[: end + 1])
    return replies


def begun_tokens(processor: Any, turns: tuple[Turn, ...]) -> tuple[int, ...] | None:
    """Of a prompt whose last turn is the assistant's: the tokens from the last of its generation prompt on.

    What stands before them is the prompt without that turn, but for its last token. None where the template writes a
    reply otherwise than its generation prompt begins it, or the last turn is not the assistant's.
    """
    if turns[-1].role != "assistant" or len(turns) < 2:
        return None
    whole = _text_ids(processor, turns, **_ending(turns))
    prompt = _text_ids(processor, turns[:-1], **_ending(turns[:-1]))
    return tuple(whole[len(prompt) - 1 :]) if whole[: len(prompt)] == prompt else None


def text_tokens(processor: Any, text: str) -> int:
    """How many tokens a text takes at the beginning of the assistant's turn."""
    turns = (Turn("user", "a"), Turn("assistant", text))
    begun = begun_tokens(processor, turns) if text else (0,)
    if begun is None:
        raise PermanentBackendError(
            "the tokens of a text cannot be counted: the chat template writes a reply otherwise than its generation "
            "prompt begins it",
            "name a model whose replies can be begun for it",
        )
    return len(begun) - 1


def placeholder_tokens(processor: Any, turns: tuple[Turn, ...], has_clip: bool) -> list[int]:
    """Token ids of a prompt in which one audio token stands for the clip, for what makes room for the clip itself."""
    if isinstance(processor, TextProcessor):
        return processor.token_ids(turns, **_ending(turns))
    sound = np.zeros(1, np.float32) if has_clip else None
    if has_clip and any(turn.clip_at for turn in turns):
        require_place(processor)
    return _ids(processor, [conversation(turns, sound)], **_ending(turns))[0]


def require_place(processor: Any) -> None:
    """Raise PermanentBackendError for a chat template that puts every clip first, so that nothing would be changed."""
    sound, audio = np.zeros(1, np.float32), audio_token_id(processor)
    places = []
    for clip_at in (0, 4):
        turns = (Turn("user", "one two", clip_at),)
        places.append(_ids(processor, [conversation(turns, sound)], add_generation_prompt=True)[0].index(audio))
    if places[0] == places[1]:
        raise PermanentBackendError(
            "the chat template puts the clip before all text, wherever it stands", "--mcot-order clip-first says so"
        )


def _text_ids(processor: Any, turns: tuple[Turn, ...], **ending: bool) -> list[int]:
    """Token ids of a conversation without its clip."""
    return _all_text_ids(processor, [turns], **ending)[0]


def _all_text_ids(processor: Any, conversations: Sequence[tuple[Turn, ...]], **ending: bool) -> list[list[int]]:
    """Token ids of several conversations without their clips; one call costs less than one for each."""
    if isinstance(processor, TextProcessor):
        return [processor.token_ids(turns, **ending) for turns in conversations]
    return _ids(processor, [conversation(turns, None) for turns in conversations], **ending)


def _ids(processor: Any, messages: list[list[dict[str, Any]]], **ending: bool) -> list[list[int]]:
    ids: list[list[int]] = processor.tokenizer.apply_chat_template(
        messages,
        chat_template=processor.chat_template,
        tokenize=True,
        return_dict=False,
        sanitize_control_tokens=True,
        **ending,
    )
    return ids


def _text(processor: Any, turns: tuple[Turn, ...], **ending: bool) -> str:
    """What the chat template writes of a conversation without its clip."""
    if isinstance(processor, TextProcessor):
        return processor.text(turns, **ending)
    settings: dict[str, Any] = {"chat_template": processor.chat_template, "tokenize": False, **ending}
    text: str = processor.tokenizer.apply_chat_template(conversation(turns, None), **settings)
    return text


def conversation(turns: tuple[Turn, ...], sound: Clips) -> list[dict[str, Any]]:
    """Chat messages in transformers' form; clips stand in the first user turn, where the turn says."""
    messages: list[dict[str, Any]] = [
        {"role": turn.role, "content": [{"type": "text", "text": turn.text}]} for turn in turns
    ]
    if sound is not None:
        place = next(place for place, turn in enumerate(turns) if turn.role == "user")
        before, after = turns[place].around_clip
        clips = sound if isinstance(sound, tuple) else (sound,)
        parts = [*({"type": "audio", "audio": clip} for clip in clips), {"type": "text", "text": after}]
        messages[place]["content"] = [{"type": "text", "text": before}, *parts] if before else parts
    return messages


def _ending(turns: tuple[Turn, ...]) -> dict[str, bool]:
    continued = turns[-1].role == "assistant"
    return {"continue_final_message": True} if continued else {"add_generation_prompt": True}


def protect_from_control_tokens(processor: Any, ref: str) -> None:
    """Make control tokens in a user's text stay text, and check on this very tokenizer that they do.

    Control tokens are the tokenizer's special tokens and whatever added tokens its chat template writes, those
    that a template builds from pieces included.

    Raises:
        PermanentBackendError: they become control tokens, or the check cannot be made.
        DataError: the template does not end, or takes too much memory.
    """
    tokenizer, template = processor.tokenizer, f"{ref}: its chat template"

    def ids(*turns: Turn, **ending: bool) -> list[int]:
        # As text first: an allocation that fails in the tokenizer ends the process.
        with memory_limit(template):
            n = len(_text(processor, turns, **ending))
        if n > _LONGEST_TEXT:
            raise DataError(f"{template} writes {n:,} characters", "take the checkpoint of its makers")
        return _text_ids(processor, turns, **ending)

    with _template_errors(ref), time_limit(template):
        plain = ids(Turn("user", "a b c"), add_generation_prompt=True)
        answered = ids(Turn("user", "a"), Turn("assistant", "b"))
        added = {token for token, i in tokenizer.added_tokens_encoder.items() if i in {*plain, *answered}}
        audio = () if processor.audio_token is None else (processor.audio_token,)
        control = sorted({*tokenizer.all_special_tokens, *audio, *filter(str.strip, added)})
        tokenizer.chat_control_tokens = control
        marked = ids(Turn("user", "a " + " b ".join(control) + " c"), add_generation_prompt=True)
    control_ids = set(tokenizer.convert_tokens_to_ids(control))
    if sum(i in control_ids for i in plain) != sum(i in control_ids for i in marked):
        raise PermanentBackendError(
            f"{ref}: this tokenizer reads control tokens in a question as control tokens",
            "untrusted questions would steer the model; use a fast tokenizer of the same checkpoint",
        )


@contextlib.contextmanager
def _template_errors(ref: str) -> Iterator[None]:
    try:
        yield
    except LalmError:
        raise
    except Exception as error:  # a template is a program
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        message = f"{ref}: control tokens in a question cannot be made harmless: {reason}"
        raise PermanentBackendError(message, "its chat template fails; take the checkpoint of its makers") from error
