"""Synthetic clips and questions in MMAU's shape: training material for `mini` and a benchmark of our own."""
