"""How fast is the service, and does it stay so?  Run ``make bench``."""
