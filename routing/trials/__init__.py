"""What came of decisions: counted for operators, compared between profiles."""
