"""The measuring script."""
