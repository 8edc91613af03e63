"""Names of the files of a run folder and of what they hold."""

# Scores by their names in files, and as people read them.
SCORES = {"acc_czsl": "T1", "acc_unseen": "U", "acc_seen": "S", "harmonic_mean": "H"}
