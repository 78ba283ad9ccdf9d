"""The times of attempts: claims of due deliveries, and settlements of their outcomes."""
