"""A site's own order list and local codes."""
