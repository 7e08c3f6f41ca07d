"""The clinical evaluation: chart facts, knowledge and a day in, an assessment out.

Pure: it reads no clock, file, network or random number and never logs.
"""
