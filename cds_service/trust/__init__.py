"""Trust: which EHRs are known, what their tokens must say, and where their data may be read."""
