"""The paper's studies as recipes: what to run, which figure or table it feeds, what it finds."""
