r"""qwen_audio_chat.py: Qwen-Audio-Chat as a worker of lalm-agent. NEVER RUN ON REAL WEIGHTS HERE.

    python3.10 -m venv qwen && qwen/bin/pip install -r examples/workers/qwen_audio_chat.txt
    lalm-agent ask CLIP QUESTION --model exec:qwen/bin/python:examples/workers/qwen_audio_chat.py:Qwen/Qwen-Audio-Chat

The argument is a hub id (the default is that one) or a folder. The checkpoint brings code of its own, which runs.

Facts that this file relies on, of github.com/QwenLM/Qwen-Audio at b50fb95 (2024-04-09), whose Python files are those of
the checkpoint, and of its README (Python 3.8 or newer, torch 1.12 or newer, the program ffmpeg on the PATH):

- `AutoTokenizer.from_pretrained(ID, trust_remote_code=True)`, and `AutoModelForCausalLM.from_pretrained(ID,
  device_map=..., trust_remote_code=True, bf16=|fp16=|fp32=True)`; without one of the three the model picks a dtype.
- `tokenizer.from_list_format([{"audio": PATH}, {"text": TEXT}])` is a text with the path between `<audio>` tags. Each
  such path is decoded by ffmpeg at 16 kHz in `tokenizer.process_audio(TEXT)`, which returns None where there is none;
  30 s are heard.
- `tokenizer(TEXT, return_tensors="pt", audio_info=...)` reads control tokens in the text as such, and
  `tokenizer.encode(TEXT, allowed_special=set())` does not; `tokenizer.decode(IDS)`, `.im_start_id`, `.im_end_id`.
- `model.chat` writes `<|im_start|>ROLE\nTEXT<|im_end|>` turns with a line feed between them, beginning with the system
  turn "You are a helpful assistant.", and stops at either control token. It cannot go on with a begun reply or return
  scores, so the prompt is written here.
- `model.generate(**inputs, audio_info=..., stop_words_ids=[[ID], ...], max_new_tokens, do_sample, temperature, top_p,
  top_k, num_beams, repetition_penalty)`; inputs are input_ids and attention_mask. Its own settings sample
  (`chat_generation_config.json`: top_p 0.5), so that all of them are said.
- `model(input_ids=..., audio_info=...).logits`, `model.device`, `model.dtype`, `model.eval()`.
- torch: `manual_seed`, `inference_mode`, `tensor(..., device=)`, `log_softmax(..., dim=)`; of tensors `to`, `shape`,
  `float`, `item`, `tolist`.
"""

import re

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

SYSTEM = "You are a helpful assistant."
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
# Control tokens of the tokenizer, which are plain text in a question.
CONTROL = re.compile(r"<(?=\||/?audio>)|\[(?=\[\[AUDIO:)")


class Model:
    """The checkpoint with its tokenizer."""

    def __init__(self, argument, device, dtype):
        """Load it. device: `auto` spreads it over what is there."""
        self.name = argument or "Qwen/Qwen-Audio-Chat"
        precision = {} if dtype == "auto" else {DTYPES[dtype]: True}
        self.tokenizer = AutoTokenizer.from_pretrained(self.name, trust_remote_code=True)
        self.model = AutoModelForCausalLM.from_pretrained(
            self.name, device_map=device, trust_remote_code=True, **precision
        ).eval()
        self.stops = [self.tokenizer.im_end_id, self.tokenizer.im_start_id]

    def hello(self):
        """What the model is."""
        dtype = str(self.model.dtype).replace("torch.", "")
        return {
            "name": "Qwen-Audio-Chat",
            "version": self.name,
            "window_s": 30.0,
            "device": str(self.model.device),
            "dtype": dtype,
        }

    def generate(self, requests):
        """One after the other: the tokenizer pads no batches with audio."""
        return [[self.reply(request, seed) for seed in request["seeds"]] for request in requests]

    def reply(self, request, seed):
        """One reply; `length` where no stop token came."""
        inputs, audio_info = self.inputs(request)
        sampled = request["temperature"] > 0
        torch.manual_seed(seed)
        with torch.inference_mode():
            tokens = self.model.generate(
                **inputs,
                audio_info=audio_info,
                stop_words_ids=[[stop] for stop in self.stops],
                max_new_tokens=request["max_new_tokens"],
                do_sample=sampled,
                temperature=request["temperature"] if sampled else 1.0,
                top_p=request["top_p"] if sampled else 1.0,
                top_k=request["top_k"] if sampled else 0,
                num_beams=1,
                repetition_penalty=1.0,
            )[0].tolist()
        new = tokens[inputs["input_ids"].shape[1] :]
        end = next((place for place, token in enumerate(new) if token in self.stops), None)
        return {"text": self.tokenizer.decode(new[:end]), "finish": "length" if end is None else "stop"}

    def score(self, requests):
        """Log-probability of each option with the end of its turn behind it, and its tokens."""
        scores = []
        for request in requests:
            inputs, audio_info = self.inputs(request)
            prompt = inputs["input_ids"][0].tolist()
            scores.append([self.option(prompt, text, audio_info) for text in request["options"]])
        return scores

    def option(self, prompt, text, audio_info):
        """The (log-probability, number of tokens) of one option."""
        option = [*self.tokenizer.encode(text, allowed_special=set()), self.tokenizer.im_end_id]
        ids = torch.tensor([prompt + option], device=self.model.device)
        with torch.inference_mode():
            logits = self.model(input_ids=ids, audio_info=audio_info).logits[0, len(prompt) - 1 : -1]
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        return sum(logprobs[place, token].item() for place, token in enumerate(option)), len(option)

    def inputs(self, request):
        """The tokens of a conversation on the model's device, and what the tokenizer heard."""
        turns = [dict(turn, text=CONTROL.sub(r"\g<0> ", turn["text"])) for turn in request["turns"]]
        if turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "text": SYSTEM})
        if request["audio"] is not None:
            first = next(turn for turn in turns if turn["role"] == "user")
            first["text"] = self.tokenizer.from_list_format([{"audio": request["audio"]}, {"text": first["text"]}])
        begun = turns.pop()["text"] if turns[-1]["role"] == "assistant" else ""
        written = [f"<|im_start|>{turn['role']}\n{turn['text']}<|im_end|>\n" for turn in turns]
        prompt = "".join([*written, f"<|im_start|>assistant\n{begun}"])
        audio_info = self.tokenizer.process_audio(prompt)
        return self.tokenizer(prompt, return_tensors="pt", audio_info=audio_info).to(self.model.device), audio_info
