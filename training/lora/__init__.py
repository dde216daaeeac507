"""LoRA on the answering model from rows of IDK data: `lalm-agent train`."""
