"""The model card of an adapter: what it goes on, what it was made of, and what it is not."""

from lalm_agent.training.lora.rows import RowSet, class_counts
from lalm_agent.training.lora.spec import TrainingSpec

_CARD = """\
---
{front}library_name: peft
tags:
- lora
- audio
- abstention
---

# LoRA for saying IDK, on {model}

Made by `lalm-agent train`. It answers questions about audio, and is to say that it does not know where the base model
was not reliably right (K@N, arXiv 2505.19294, section 3.2).

## Use

    lalm-agent ask CLIP "QUESTION" --model {model} --method {method} --adapter THIS_FOLDER

or with peft and transformers alone: `PeftModel.from_pretrained(base_model, THIS_FOLDER)`. The prompt it was trained
with is that of the method `{prompt}`.

## What it was made of

| | |
| --- | --- |
| base | {model}{revision}, weights sha256 `{weights}`, {dtype} |
| rows | {rows}: {classes}; file sha256 `{data}` |
| clips | {clips}, listed in `trained_clips.json`; an evaluation leaves them out |
| modules | `{targets}` |
| rank, alpha, dropout | {recipe.rank}, {recipe.alpha:g}, {recipe.dropout:g} |
| learning rate | {recipe.learning_rate:g}, {recipe.schedule} |
| steps | {steps} of {processes} x {recipe.batch_size} x {recipe.grad_accum} rows, seed {recipe.seed} |
| trained parameters | {trainable:,} |
| last step | {last} |
| source | commit {commit}{dirty} |

The whole record is `spec.json`; `log.jsonl` has the figures of each step.

## Limits

It is bound to the very weights named above. That it says `IDK` more often is not yet a gain: compare it with rejection
at random and with thresholding the base model's confidence, on clips that it has not seen (`lalm-agent score`).
"""


def model_card(spec: TrainingSpec, rows: RowSet, last: dict[str, float]) -> str:
    """The card as Markdown with the hub's front matter. last: the figures of the last step."""
    identity, session = spec.identity, spec.sessions[-1]
    is_hub = "/" in spec.base and not spec.base.startswith(("/", ".", "~"))
    return _CARD.format(
        front=f"base_model: {spec.base}\n" if is_hub else "",
        model=identity.model,
        method="lora" if identity.prompt == "baseline" else "agent",
        prompt=identity.prompt,
        revision=f"@{identity.revision}" if identity.revision else "",
        weights=identity.weights_sha256,
        dtype=identity.dtype,
        rows=identity.data.rows,
        classes=class_counts(rows.rows),
        data=identity.data.sha256,
        clips=len(rows.clips),
        targets=identity.recipe.targets.replace("|", r"\|"),
        recipe=identity.recipe,
        steps=spec.steps,
        processes=identity.processes,
        trainable=spec.trainable,
        last=", ".join(f"{name} {value:.4g}" for name, value in last.items()),
        commit=session.commit or "unknown",
        dirty=" with changes" if session.dirty else "",
    )
