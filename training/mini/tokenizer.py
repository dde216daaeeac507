"""How a conversation becomes tokens: the chat template of `mini`, in the dialect of Qwen's chat models, and its BPE.

Audio stands before the text of its turn. An assistant's turn begins with a space, so that a reply is made of the same
tokens as the option in the prompt; the generation prompt ends before that space, so that the tokens of a prompt are a
prefix of the tokens of prompt and reply. There is no system turn unless the caller gives one.
"""

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_agent import prompts
from lalm_agent.records import AudioType
from lalm_agent.training.mini.recipe import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

AUDIO = "<|AUDIO|>"
AUDIO_BEGIN = "<|audio_bos|>"
AUDIO_END = "<|audio_eos|>"
TURN_BEGIN = "<|im_start|>"
TURN_END = "<|im_end|>"
PADDING = "<|endoftext|>"
SPECIAL = (PADDING, TURN_BEGIN, TURN_END, AUDIO, AUDIO_BEGIN, AUDIO_END)

CHAT_TEMPLATE = resources.files("lalm_agent.training.mini").joinpath("data", "chat_template.jinja").read_text("utf-8")
BEFORE_AUDIO = f"{TURN_BEGIN}user\n{AUDIO_BEGIN}"
AFTER_AUDIO = f"{AUDIO_END}\n"
BEFORE_REPLY = f"{TURN_END}\n{TURN_BEGIN}assistant\n"
PHRASES = (
    *re.split(r"(?= Example \d)", prompts.mcot_examples()),
    f" {prompts.SELECT}",
    f" {prompts.IDK_SENTENCE}",
    f" {prompts.MCOT_SENTENCE}",
    prompts.TYPE_SENTENCE,
    *(prompts.content_prompt(kind) for kind in AudioType),
    *(prompts.GIVEN_CONTENT_TEMPLATE.format(type=kind.capitalize(), content="").rstrip() for kind in AudioType),
)
"""The fixed sentences of the prompts, MCoT's examples among them: one token each, so that a prompt that is always the
same costs little and MCoT can be trained like any other."""


def train_tokenizer(texts: Iterable[str], shape: Shape) -> "PreTrainedTokenizerFast":
    """Learn the merges from texts.

    A newline is always a token of its own: the end of the generation prompt can then never merge with the reply.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("\n", "isolated"), byte_level])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens([AddedToken(phrase, normalized=False, special=False) for phrase in PHRASES])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=TURN_END,
        pad_token=PADDING,
        additional_special_tokens=[TURN_BEGIN, AUDIO, AUDIO_BEGIN, AUDIO_END],
        model_max_length=shape.max_tokens,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """Read the tokenizer of a folder that it was saved in."""
    from transformers import PreTrainedTokenizerFast

    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer
