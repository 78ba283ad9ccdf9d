"""The atomic steps, as pairs: `<step>.lua` runs in the server, `<step>.py` builds its keys and arguments."""
