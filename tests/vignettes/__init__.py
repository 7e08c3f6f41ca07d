"""Clinical cases as a clinician tells them, and what the service must answer."""
