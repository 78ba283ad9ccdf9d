"""The listener for opens and clicks of tracked mail: a process of its own, open to everybody."""
