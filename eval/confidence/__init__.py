"""How sure an answer is: estimates over a run, how good they are, and thresholds with a guarantee."""
