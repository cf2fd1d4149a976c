//! How far it is, on the terminal; nothing where there is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many bytes, or one without an end.
pub(super) fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, style) = match bytes {
        Some(bytes) => {
            (ProgressBar::new(bytes), "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {eta} left")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}  {msg}  {elapsed}"),
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
