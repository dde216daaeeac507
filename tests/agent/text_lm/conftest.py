"""A small language model that takes text only, which the tests make themselves."""

from pathlib import Path

import pytest

# For content as a string, as the templates of text models are: a list of parts would be an error.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_text_lm(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A random-weight Qwen2 folder with the tokenizer of the audio model's."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("qwen2")
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, **ids, num_key_value_heads=1, vocab_size=len(tokenizer) + 8))
    # Random weights of the default size give near-uniform logits; greedy choices would hang on rounding.
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    model.generation_config.update(do_sample=True, temperature=0.7, repetition_penalty=1.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder
