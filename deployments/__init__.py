"""One room per Ray Serve deployment, each thin: it adapts Ray, HTTP and brokers to the floor below."""
