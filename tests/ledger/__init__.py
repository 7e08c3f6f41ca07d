"""The record of calls, cards, feedback and snoozes."""
