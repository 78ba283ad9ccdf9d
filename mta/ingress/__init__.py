"""Mail in over SMTP: listener, session, admission."""
