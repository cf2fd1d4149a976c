//! Jobs as lines that another system, or this one later, can take in again.

mod export;
mod import;
mod past;

pub use export::line_of;
pub use import::{Imported, Importer};
pub use past::JobLine;
