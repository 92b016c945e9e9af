"""The schema's history, one revision a subject. A revision that has been released is never edited."""
