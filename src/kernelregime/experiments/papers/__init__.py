"""One package for each paper; an experiment for each row of its claims."""
