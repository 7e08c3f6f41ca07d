"""What the service did and what users answered: calls, cards, feedback and snoozes on disk."""
