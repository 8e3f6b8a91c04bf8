"""A whole call over a real livekit-server, with a real worker and a real caller, on loopback."""
