"""The service as Flask sees it: addresses, the road of a call, errors, limits, pages."""
