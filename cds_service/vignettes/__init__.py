"""Short charts of made-up patients, and what the service answers to them."""
