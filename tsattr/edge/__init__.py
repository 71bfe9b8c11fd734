"""One call on labelled data: its settings, its checks and its labelled result."""
