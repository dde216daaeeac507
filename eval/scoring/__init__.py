"""From graded replies to figures, verdicts and tables. No model, no audio."""
