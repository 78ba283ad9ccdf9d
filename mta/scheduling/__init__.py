"""When a delivery is attempted, and what becomes of it afterwards."""
