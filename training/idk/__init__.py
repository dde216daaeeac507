"""IDK data: from a bank of samples to the questions that a model learns to refuse (P1 section 3.2)."""
