"""Cards, orders and words."""
