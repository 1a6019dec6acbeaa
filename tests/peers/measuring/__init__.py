"""What measure.py is made of: the subjects, how they are run, and one module for each kind of table."""
