//! What the command line `hasty` is made of: commands for those who run Hasty, next to a running system.

pub mod fsck;
pub mod jobs;
pub mod replica_set;
pub mod top;
pub mod transfer;
