//! Takes jobs over HTTP, keeps them, announces them, and shows how they end.
