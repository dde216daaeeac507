"""Does the reasoning matter? Interventions on a chain of thought, and what the answer does (arXiv 2509.22363)."""
