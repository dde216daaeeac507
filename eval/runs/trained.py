"""Clips that a model knows from its training: questions about them are no test of it.

Those of an adapter are asked and left out of the figures; those of the pretraining are refused.
"""

import json
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from lalm_agent.errors import DataError, UsageError

FILE_NAME = "trained_clips.json"
"""In an adapter's folder: `{"audio_sha256": [...]}`, over the decoded samples (`lalm_agent.audio.sha256`)."""
_SHOWN = 3
_SHA256_DIGITS = 64


class PretrainedError(UsageError):
    """A clip is among those that the model was pretrained on."""

    def __init__(self, found: Sequence[str], n: int, model: str, what: str) -> None:
        """Found: the clips, by name or hash, of the `n` of `what`, such as a file or the data."""
        names = [one[:12] if len(one) == _SHA256_DIGITS else one for one in found[:_SHOWN]]
        shown = ", ".join(names) + (", …" if len(found) > _SHOWN else "")
        super().__init__(
            f"{len(found)} of the {n} clips of {what} were used in the pretraining of {model}: {shown}",
            "use other clips (data synth with --split dev or test makes some), or leave these out",
        )


def refuse_pretrained(pretrained: Container[str], sha256: Iterable[str | None], model: str, what: str) -> None:
    """Refuse clips that a model was pretrained on.

    pretrained: `lalm_agent.models.pretrained_clips.pretrained_clips_of(model)`. sha256: of the clips that are to be
    used, over the decoded samples; None where one is not known. what: holds them, for the message.

    Raises:
        PretrainedError: with the number of such clips.
    """
    used = {one for one in sha256 if one is not None}
    found = sorted(one for one in used if one in pretrained)
    if found:
        raise PretrainedError(found, len(used), model, what)


def trained_clips(adapter: str | None) -> frozenset[str]:
    """The sha256 of the clips; none for an adapter that does not say, or without one.

    Raises:
        DataError: the file is not of that form.
    """
    path = Path(adapter or "") / FILE_NAME
    if adapter is None or not path.is_file():
        return frozenset()
    try:
        hashes = json.loads(path.read_text(encoding="utf-8"))["audio_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {error}", "mend or remove it") from error
    if not isinstance(hashes, list) or not all(isinstance(one, str) for one in hashes):
        raise DataError(f"{path} has no list of texts under audio_sha256", "mend or remove it")
    return frozenset(hashes)
