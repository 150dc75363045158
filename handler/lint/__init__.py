"""What a profile allows but hardly means."""
