"""What `scripts/peers` and `scripts/measure` share. Standard library only."""
