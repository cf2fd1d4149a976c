//! Runs a whole Hasty on one machine: fetches the servers, starts everything on loopback, stops it again.
