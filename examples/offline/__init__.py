"""The parts of a whole call that need no keys, no devices and no network.

A voice (`speech`), an ear (`recognition`), a rule-based mind (`brain`) and the agents that use
them (`agents`); a line to talk over (`audio_io`), somebody who calls (`caller`), and the call
itself (`call`), which runs in real time and knows the truth about what sounded when.
"""
