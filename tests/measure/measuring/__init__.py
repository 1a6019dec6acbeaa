"""The parts of measure.py: subjects, processes, rounds, results, and in `tables` one module for each kind of table."""
