"""The embedded checkpoint, as package data: a Qwen2-Audio of a few million parameters, trained by this project."""
