"""A CDS Hooks service for pain after lumbar spine surgery."""
