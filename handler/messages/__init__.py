"""What people are told, in English or Chinese."""
