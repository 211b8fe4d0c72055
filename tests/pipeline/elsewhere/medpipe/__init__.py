"""Stands for another copy's code, which PYTHONPATH names for every command of the small project."""

raise ImportError("the code of another copy")
