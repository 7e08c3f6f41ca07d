"""Who may call, and where a token may go."""
