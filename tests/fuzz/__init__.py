"""Random and broken input for everything that reads what a stranger sent.

``make fuzz`` runs the targets for a minute; ``FUZZ_SECONDS`` says otherwise.  The tests run each of
them a few times.
"""
