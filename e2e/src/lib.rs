//! End-to-end tests of Hasty on real servers.
