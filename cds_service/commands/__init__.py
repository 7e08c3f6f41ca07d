"""The commands that need more than a page; ``cds_service.cli`` puts them together."""
