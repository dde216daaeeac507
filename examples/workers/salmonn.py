r"""salmonn.py: SALMONN-13B and SALMONN-7B as a worker of lalm-agent. NEVER RUN ON REAL WEIGHTS HERE.

    git clone -b salmonn https://github.com/bytedance/SALMONN code
    python3.9 -m venv salmonn && salmonn/bin/pip install -r examples/workers/salmonn.txt
    lalm-agent ask CLIP QUESTION --model exec:salmonn/bin/python:examples/workers/salmonn.py:salmonn-13b.json

The argument is a JSON file: `code`, the folder of the clone, and the paths under the names that this code gives them.
`beams` may be said, too (default 1; the authors' own scripts use 4). It needs a GPU: the code itself asks for CUDA.

    {"code": "code", "ckpt": "salmonn_v1.pth", "whisper_path": "whisper-large-v2", "llama_path": "vicuna-13b-v1.1",
     "beats_path": "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt"}

SALMONN-7B is the same with `salmonn_7b_v0.pth` and vicuna-7b-v1.5. There are two public codes. Which one a folder holds
is seen by its files.

Facts of the branch `salmonn` of github.com/bytedance/SALMONN at a58bba7 (the code of 2024-04, with training):

- `models.salmonn.SALMONN.from_config(CONFIG)` takes what has `.get`: llama_path, whisper_path, beats_path, ckpt, and
  lora_alpha (32), low_resource (False), max_txt_len (128) and others. It loads `bert-base-uncased`'s configuration.
- `utils.prepare_one_sample(PATH, transformers.WhisperFeatureExtractor.from_pretrained(PATH), cuda_enabled=True)` hears
  30 s and pads to 1 s.
- `.generate(SAMPLES, CONFIG, prompts=[TEXT])` with max_new_tokens, num_beams, do_sample, min_length, temperature,
  top_p, repetition_penalty and length_penalty; TEXT has `<SpeechHere>` once. Replies keep `<s>` and `</s>`. It runs
  under `torch.cuda.amp.autocast(dtype=torch.float16)`.
- `.forward(SAMPLES)["loss"]` is the mean over the tokens of SAMPLES["text"] and `end_sym`, after a prompt of
  `prompt_dict[SAMPLES["task"][0]]`; `llama_tokenizer(TEXT, add_special_tokens=False).input_ids` are these tokens.

Facts of the first code, `model.py` at ce25d43 (2023-11), from which SALMONN-7B's demo was made:

- `model.SALMONN(ckpt, whisper_path, beats_path, vicuna_path, lora_alpha=32, low_resource=False, ...)`.
- `.generate(PATH, prompt, prompt_pattern, device, max_length, num_beams, do_sample, min_length, top_p,
  repetition_penalty, length_penalty, temperature)`: prompt_pattern is formatted with the prompt and has `<SpeechHere>`
  once; the length counts from one token. Replies come without special tokens. It scores nothing.

Of torch: `manual_seed`, `inference_mode`; of a model `to(DEVICE)` and `eval()`; of a loss `item()`.

Neither takes top_k, and sampling keeps transformers' own (50). Prompts are Vicuna's: `USER: ... \nASSISTANT:`.
"""

import json
import os
import re
import sys

import torch

PLACE = "<SpeechHere>"
# What the code or the tokenizer would not read as text.
CONTROL = re.compile(r"<(?=/?s>|unk>|/?Speech>|SpeechHere>)|\[(?=PAD\])")


class Salmonn:
    """What both codes have in common. device: `cuda:0` for `auto`."""

    def __init__(self, config, device):
        """Load the model into `self.model`."""
        self.device = "cuda:0" if device == "auto" else device
        self.beams = config.pop("beams", 1)
        self.ckpt = os.path.basename(config["ckpt"])
        self.load(config)
        self.model.to(self.device)
        self.model.eval()

    def hello(self):
        """What the model is."""
        return {"name": "SALMONN", "version": f"{self.ckpt}, {self.code}", "window_s": 30.0, "device": self.device}

    def generate(self, requests):
        """One after the other: a batch would need clips of one length."""
        replies = []
        for request in requests:
            if request["top_k"]:
                raise ValueError("SALMONN's generate takes no top_k")
            prompt, settings = prompt_of(request), self.settings(request)
            replies.append([])
            for seed in request["seeds"]:
                torch.manual_seed(seed)
                with torch.inference_mode():
                    replies[-1].append(self.reply(request, prompt, settings))
        return replies

    def settings(self, request):
        """The settings that both codes know by the same names."""
        sampled = request["temperature"] > 0
        return {
            "num_beams": self.beams,
            "do_sample": sampled,
            "min_length": 1,
            "temperature": request["temperature"] if sampled else 1.0,
            "top_p": request["top_p"] if sampled else 1.0,
            "repetition_penalty": 1.0,
            "length_penalty": 1.0,
        }


class BranchSalmonn(Salmonn):
    """The branch `salmonn`."""

    code = "branch salmonn"

    def load(self, config):
        """Model and front end."""
        from models.salmonn import SALMONN
        from transformers import WhisperFeatureExtractor
        from utils import prepare_one_sample

        # The longest option is never cut.
        self.model = SALMONN.from_config(dict(config, max_txt_len=2048))
        self.front_end = WhisperFeatureExtractor.from_pretrained(config["whisper_path"])
        self.prepare = prepare_one_sample

    def samples(self, request):
        """The clip as the model takes it."""
        return self.prepare(request["audio"], self.front_end, cuda_enabled=True)

    def reply(self, request, prompt, settings):
        """One reply; without `</s>` it was cut off."""
        settings = dict(settings, max_new_tokens=request["max_new_tokens"])
        with torch.cuda.amp.autocast(dtype=torch.float16):
            text = self.model.generate(self.samples(request), settings, prompts=[prompt])[0]
        whole, end, _ = text.partition("</s>")
        return {"text": whole.replace("<s>", ""), "finish": "stop" if end else "length"}

    def score(self, requests):
        """Log-probability of each option with `</s>` behind it, and its tokens."""
        scores = []
        for request in requests:
            self.model.prompt_dict = {"ask": [prompt_of(request)]}
            samples = self.samples(request)
            self.model.multi_prompt = False
            scores.append([])
            for option in request["options"]:
                tokens = self.model.llama_tokenizer(option + self.model.end_sym, add_special_tokens=False).input_ids
                with torch.inference_mode():
                    loss = self.model.forward(dict(samples, task=["ask"], text=[option]))["loss"]
                scores[-1].append((-loss.item() * len(tokens), len(tokens)))
        return scores


class FirstSalmonn(Salmonn):
    """The code of 2023."""

    code = "model.py"

    def load(self, config):
        """The model, which reads clips by itself."""
        from model import SALMONN

        self.model = SALMONN(**config)

    def reply(self, request, prompt, settings):
        """One reply; whether it was cut off is not known."""
        # The pattern is formatted by that code, and is whole already.
        pattern = prompt.replace("{", "{{").replace("}", "}}")
        length = request["max_new_tokens"] + 1
        return self.model.generate(
            request["audio"], prompt="", prompt_pattern=pattern, device=self.device, max_length=length, **settings
        )[0]


def prompt_of(request):
    """A conversation as Vicuna's, with the clip before the first user's text; a begun reply stands at the end."""
    if request["audio"] is None:
        raise ValueError("SALMONN is asked about a clip, and there is none")
    parts, is_placed = [], False
    for turn in request["turns"]:
        text = CONTROL.sub(r"\g<0> ", turn["text"])
        if turn["role"] == "user":
            clip = "" if is_placed else f"<Speech>{PLACE}</Speech> "
            parts.append(f"USER: {clip}{text}\nASSISTANT:")
            is_placed = True
        else:
            is_begun = turn is request["turns"][-1]
            parts.append(text + "\n" if turn["role"] == "system" else f" {text}{'' if is_begun else '</s>'}")
    return "".join(parts)


def Model(argument, device):
    """Whichever code the folder holds."""
    if argument is None:
        raise ValueError("SALMONN needs a JSON file with its paths: exec:PYTHON:salmonn.py:salmonn.json")
    with open(argument, encoding="utf-8") as file:
        config = json.load(file)
    code = os.path.abspath(config.pop("code"))
    sys.path.insert(0, code)
    is_branch = os.path.isfile(os.path.join(code, "models", "salmonn.py"))
    return (BranchSalmonn if is_branch else FirstSalmonn)(config, device)
