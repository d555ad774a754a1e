"""One zone's database: tables, transactions, the writer, the statement log. Engines differ in dialects/ and nowhere else."""
