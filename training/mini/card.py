"""The model card: what the model is, what it was made of, whom to thank, what it can and cannot do."""

from collections.abc import Sequence

from lalm_agent.training.mini.recipe import Plan

_HEAD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: audio-text-to-text
language:
- en
tags:
- audio
- qwen2_audio
- synthetic
- abstention
---

# mini

A small audio language model for showing and testing `lalm-agent` without a download: a stock
`Qwen2AudioForConditionalGeneration` of {millions:.1f} million parameters, trained from scratch on a CPU. It answers
questions about short clips of sound, music and speech, and says `IDK` where a prompt invites it to and it does not
know.

**It works in a closed domain. It demonstrates the instrument; what it does is no evidence about large models.**

## Use

```python
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

processor = AutoProcessor.from_pretrained(folder)
model = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
```

Audio is mono at 16 kHz. What lies beyond {window} s is not heard; pad a clip to at least 0.5 s. A reply starts with a
space. Chat template, prompts and the rules of asking are those of `lalm-agent`.

## How it was made

{seconds} of training ({steps} steps of {batch} clips, {clips:,} synthetic clips, one pretraining seed: {seed}) with

    python -m lalm_agent.training.mini --out FOLDER --minutes {minutes:g} --clips {clips} --seed {seed}{real}

A first part trains the encoder by what is known of each clip: its tags, what sounds when, and what comes in which
order. Then some seven questions about each clip are packed behind its audio. The four auxiliary heads of the training
are not in the file.

## Data and licences

| part | origin | licence |
| --- | --- | --- |
| speech | our own sentences and word lists, read by the espeak-ng engine | engine GPL-3.0; its output is ours |
| music | our own pieces played by FluidSynth with the FluidR3 GM soundfont (Frank Wen) | soundfont MIT |
| sounds | our own procedural synthesis | Apache-2.0 |
{real_rows}
The questions, options, captions and prompts are ours; the prompts' wording follows arXiv 2505.19294.
{attribution}
`pretrained_clips.u64` lists the clips by hash; `lalm-agent` refuses to evaluate or adapt the model on them.

## What it was taught

Sounds: class of {sounds}, animal, source, count, order, background, trend, distance. Music: instrument of
{instruments}, family, tempo, direction, mode, metre, texture, drums. Speech: gender, language of {languages}, rate,
number of voices, {words} words with their number, order and topic, what is behind the voice. All: type, caption or
transcript, and IDK for questions whose answer is not among the choices, belongs to another modality or cannot be heard
at all, and the more often the more noise covers a clip. Questions about another clip and about classes that no
training clip holds are kept out of the training, to see what it does with them.

## Figures

{figures}

## Limits

- Voices, instruments and sounds are synthetic; on real recordings the type is mostly right and little else is.
- Words outside its {words} are not transcribed: such speech usually gets a caption, a short word may become one of
  them. Open questions about it are nearly always answered `IDK`.
- It was trained to say `IDK` for wordings it does not know, so it is more careful with unfamiliar questions than a
  model that understands them would have to be.
- One pretraining seed: differences of a few points between runs are noise.
"""

_REAL_ROWS = """\
| real sounds | ESC-10 (K. J. Piczak; clips from Freesound) | CC BY 3.0 |
| real music and noises | Sonic Pi's samples | CC0 |
"""

_ATTRIBUTION = """
ESC-10: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015; the recordings are
by contributors of Freesound (freesound.org) and licensed under Creative Commons Attribution 3.0. They were cut, mixed
to one channel, resampled and changed in level. Two of its ten classes (dog, rooster) were not used, and about a tenth
of the recordings was kept out of the training.
"""


def model_card(plan: Plan, steps: int, weights: int, real: bool, figures: Sequence[str]) -> str:
    """The card as Markdown with the hub's front matter.

    Args:
        plan: what the model was trained by.
        steps: optimiser steps made.
        weights: parameters of the model.
        real: whether real recordings were mixed in.
        figures: lines of the evaluation, shown as they are.
    """
    from lalm_agent.training.synth.labels import LABEL_GROUPS

    return _HEAD.format(
        sounds=len(LABEL_GROUPS["sound_event"]),
        instruments=len(LABEL_GROUPS["instrument"]),
        languages=len(LABEL_GROUPS["language"]),
        words=len(LABEL_GROUPS["word"]),
        millions=weights / 1e6,
        window=plan.shape.window_s,
        seconds=f"{plan.minutes:g} minutes" if plan.steps is None else f"{plan.steps} steps",
        steps=steps,
        batch=plan.batch,
        clips=plan.clips,
        seed=plan.seed,
        minutes=plan.minutes,
        real=" --real RECORDINGS" if real else "",
        real_rows=_REAL_ROWS if real else "",
        attribution=_ATTRIBUTION if real else "",
        figures="\n".join(["```", *figures, "```"]) if figures else "Not measured.",
    )
