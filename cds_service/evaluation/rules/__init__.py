"""The rows of the decision table, one short function per card, by theme.

No number and no code stands here: thresholds and value sets are named, their content is in
``cards/``.
"""
