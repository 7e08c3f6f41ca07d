"""What clinicians know: ``cards/`` read, checked and frozen."""
