"""The keys that the hub signs its tokens with: made, announced, followed by others, taken away."""
