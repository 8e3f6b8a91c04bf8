"""What livekit-agents says: the only room that knows livekit and its versions."""
