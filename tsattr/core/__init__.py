"""Plain arrays only: the engine, targets, baselines and groups that every method shares."""
