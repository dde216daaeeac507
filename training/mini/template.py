"""How a conversation becomes text: the chat template of `mini`, in the dialect of Qwen's chat models.

Audio stands before the text of its turn. An assistant's turn begins with a space, so that a reply is made of the same
tokens as the option in the prompt; the generation prompt ends before that space, so that the tokens of a prompt are a
prefix of the tokens of prompt and reply. There is no system turn unless the caller gives one.
"""

AUDIO = "<|AUDIO|>"
AUDIO_BEGIN = "<|audio_bos|>"
AUDIO_END = "<|audio_eos|>"
TURN_BEGIN = "<|im_start|>"
TURN_END = "<|im_end|>"
PADDING = "<|endoftext|>"
SPECIAL = (PADDING, TURN_BEGIN, TURN_END, AUDIO, AUDIO_BEGIN, AUDIO_END)

CHAT_TEMPLATE = """\
{%- macro heard(parts) -%}
{%- for part in parts if part.type == 'audio' or 'audio' in part or 'audio_url' in part -%}
{{ '<|audio_bos|><|AUDIO|><|audio_eos|>\\n' }}
{%- endfor -%}
{%- endmacro -%}
{%- macro written(parts) -%}
{%- for part in parts if 'text' in part -%}
{{ part.text }}
{%- endfor -%}
{%- endmacro -%}
{%- for turn in messages -%}
{{ '<|im_start|>' + turn.role + '\\n' }}
{%- if turn.role == 'assistant' %}{{ ' ' }}{% endif -%}
{%- if turn.content is string -%}
{{ turn.content }}
{%- else -%}
{{ heard(turn.content) }}{{ written(turn.content) }}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""

BEFORE_AUDIO = f"{TURN_BEGIN}user\n{AUDIO_BEGIN}"
AFTER_AUDIO = f"{AUDIO_END}\n"
BEFORE_REPLY = f"{TURN_END}\n{TURN_BEGIN}assistant\n"
