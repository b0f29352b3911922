"""Tasks for supervised fine-tuning: measured clips in, questions with the exact answer out.

Pitch, energy, rate, intonation and stress of one clip; the order of three renditions of one
utterance; transcripts and text. Same rows and seed, same tasks.
"""
