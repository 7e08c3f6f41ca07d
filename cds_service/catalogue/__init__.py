"""A site's own codes: its order list, and the codes its charts use for our concepts."""
