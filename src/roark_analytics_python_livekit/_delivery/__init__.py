"""Queue, disk, service: how a call gets to Roark."""
