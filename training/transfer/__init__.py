"""Whether what an adapter learned on one modality transfers to the others."""
