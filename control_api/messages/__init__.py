"""Single messages: the record of one, and its cancellation."""
