"""The only room that knows livekit: its versions, events, taps and constants."""
