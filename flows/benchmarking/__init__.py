"""What a benchmark does around its stages: its steps, its records, the time it takes."""
