"""What keeps promises under load: who may go, who waits, who is asked twice, who gets a smaller answer."""
