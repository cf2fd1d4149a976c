//! What programs write: the end of it for the result, and the last lines for those who watch.

mod lines;
mod tail;

pub(super) use lines::RecentLines;
pub(super) use tail::Tail;
