"""MMAU-Pro's way of reading a reply to a closed question: the choice whose embedding lies nearest to the reply's.

`evaluate_mmau_pro_comprehensive.py` of github.com/sonalkum/MMAUPro (arXiv 2508.13992) takes NV-Embed-v2 and the
largest cosine, so that every reply is an answer, "I don't know" and nothing at all too. Here a reply in which the
parser reads a refusal, or no reply, keeps its outcome, and the original's figure stands beside it.
Instruction-following questions are graded by their rule (`eval.constraints`) and open ones by the parser, which knows
equal texts only: the original asks Qwen2.5-7B-Instruct for marks of 1 to 5, and its total mixes these with
accuracies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.grade import Grade, Outcome, grade, outcome_of
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers.published import Original

_BATCH = 32
MAX_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Embedder:
    """Texts to vectors. embed: n texts -> (n, d), one at least; ref: the model's name."""

    ref: str
    embed: Callable[[Sequence[str]], NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class NearestOption:
    """Grades closed questions by the nearest choice; the embeddings of a text are computed once."""

    embedder: Embedder
    _kept: dict[str, NDArray[np.floating]] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """With the embedder's."""
        return f"mmau-pro:{self.embedder.ref}"

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """One grade for each item."""
        closed = [(item, text) for item, text in zip(items, texts, strict=True) if item.choices]
        self._embed([text for item, reply in closed for text in (*item.choices, reply or "")])
        return [self._grade(item, text) for item, text in zip(items, texts, strict=True)]

    def original(self, item: Item, text: str | None) -> Original:
        """What the published script makes of a reply; marks of 1 to 5 for open questions are not computed: dropped."""
        if item.constraint is not None:
            right = grade(item, text or "").outcome is Outcome.CORRECT
            return Original("instruction followed" if right else "wrong", float(right))
        if not item.choices:
            return Original("marked by a judge", None)
        return Original("nearest choice", float(outcome_of(item, self._nearest(item, text or "")) is Outcome.CORRECT))

    def _grade(self, item: Item, text: str | None) -> Grade:
        read = grade(item, text)
        if item.constraint is not None:
            return read
        if not item.choices:
            return replace(read, rule=f"open:{read.rule}")
        if text is None or not text.strip() or read.outcome is Outcome.ABSTAINED:
            return read
        chosen = self._nearest(item, text)
        return Grade(outcome_of(item, chosen), chosen, "nearest")

    def _nearest(self, item: Item, text: str) -> str:
        self._embed([*item.choices, text])
        said = self._kept[text]
        return max(item.choices, key=lambda choice: float(self._kept[choice] @ said))

    def _embed(self, texts: Sequence[str]) -> None:
        missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            vectors = np.asarray(self.embedder.embed(batch), dtype=np.float64)
            norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            self._kept.update(zip(batch, vectors / norms, strict=True))


def load_embedder(ref: str, device: str | None = None, trust_remote_code: bool = False) -> Embedder:
    """A model of embeddings in transformers' format: a folder or a name on the hub.

    One that comes with a method `encode`, as NV-Embed-v2 does (with `trust_remote_code`), is asked by it, in NV-Embed's
    way; of any other the last hidden states are averaged over the tokens.

    Raises UsageError without a reference, DataError where the model cannot be loaded.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    if not ref:
        raise UsageError("no model of embeddings is named", "such as mmau-pro:nvidia/NV-Embed-v2")
    place = device if device not in (None, "auto") else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = AutoModel.from_pretrained(ref, trust_remote_code=trust_remote_code).to(place).eval()
        tokenizer = None if hasattr(model, "encode") else AutoTokenizer.from_pretrained(ref)
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().split("\n")[0][:200]
        raise DataError(f"no embeddings by {ref}: {first}", "give a folder or a hub name of a text model") from error

    def embed(texts: Sequence[str]) -> NDArray[np.floating]:
        with torch.inference_mode():
            if tokenizer is None:
                return np.asarray(model.encode(list(texts), instruction="", max_length=MAX_TOKENS).float().cpu())
            limit = min(MAX_TOKENS, getattr(model.config, "max_position_embeddings", MAX_TOKENS))
            # An empty text has no token in some tokenizers.
            shown = [text or " " for text in texts]
            batch = tokenizer(shown, padding=True, truncation=True, max_length=limit, return_tensors="pt")
            states = model(**batch.to(place)).last_hidden_state.float()
            mask = batch["attention_mask"].unsqueeze(-1)
            return np.asarray(((states * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu())

    return Embedder(ref, embed)
