//! The contract between Hasty's services: ids, events, subjects, streams and the transition function.
