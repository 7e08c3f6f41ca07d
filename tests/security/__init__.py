"""What an attacker tries in an afternoon, against the service as a process of its own."""
