//! Claims announced jobs, runs their handlers under a lease, and records how each run ended.
