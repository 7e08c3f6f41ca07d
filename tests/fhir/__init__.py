"""Gateway and reading."""
