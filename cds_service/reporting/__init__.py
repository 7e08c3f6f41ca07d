"""What the ledger tells a committee: numbers, alarms, and why one call was answered as it was."""
