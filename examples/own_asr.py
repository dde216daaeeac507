"""own_asr.py: an ASR node of your own. It reads the text file that lies beside the clip."""

from pathlib import Path


def transcribe(task, argument):
    """A recogniser would take task.sound.mono(16_000), float32."""
    path = Path(task.question.audio.path).with_suffix(argument or ".txt")
    return path.read_text(encoding="utf-8")
