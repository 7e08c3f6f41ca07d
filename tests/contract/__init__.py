"""What the CDS Hooks specification asks of a service, statement by statement."""
