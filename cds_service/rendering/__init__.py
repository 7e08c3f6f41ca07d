"""From an assessment to the words and orders of cards; decides nothing itself."""
