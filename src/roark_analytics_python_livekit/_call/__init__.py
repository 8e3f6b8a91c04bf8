"""What happened in a call, and what is told of it."""
