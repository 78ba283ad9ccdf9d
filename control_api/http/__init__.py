"""HTTP as the API speaks it: connections, bodies, query strings, and the shapes of its answers."""
