"""CDS Hooks on the wire: discovery, request and feedback.  Knows no medicine and no Flask."""
