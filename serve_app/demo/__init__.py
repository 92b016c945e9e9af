"""`hub demo`: the whole path on real ticks, watched live and judged by an independent reader."""
