"""Families of unanswerable questions: which ones training meets and which it never does. Marked here and only here."""

MET = ("gold_removed", "wrong_modality", "unheard", "silence", "low_snr")
"""The right answer taken away; a question about another modality; what no audio tells; nothing to hear; noise alone."""

NEVER_MET = ("swapped", "class_never_met")
"""A question about another clip of the same modality; a class that is in no training clip and no training question."""

FAMILIES = MET + NEVER_MET
