"""The clinical content and its loader."""
