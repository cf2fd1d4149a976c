//! What the workers' histories say (`WORKER_HISTORY_DIR`): what each did, and what the ledger refused it.

use serde_json::Value;

use crate::{App, JobView};

/// The folder of the histories, in the stack's own: `builder.env("WORKER_HISTORY_DIR", HISTORY)`.
pub const HISTORY: &str = "history";

impl App {
    /// The attempts of the job's first run that the histories have this event of, in their order.
    ///
    /// # Panics
    /// Where there are no histories, or a line is not readable.
    #[must_use]
    pub fn history(&self, job: &JobView, event: &str) -> Vec<u32> {
        let run = format!("{}.1", job.id);
        let folder = self.stack().folder().join(HISTORY);
        let files = std::fs::read_dir(folder).expect("the workers keep histories").flatten();
        let files =
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|is| is == "jsonl"));
        let text: String = files.map(|path| std::fs::read_to_string(path).expect("a history")).collect();
        // The last line may be on its way.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let said = lines.filter(|line| line["run"] == *run && line["event"] == event);
        let attempt = |line: Value| line["attempt"].as_u64().and_then(|attempt| u32::try_from(attempt).ok());
        let mut attempts: Vec<u32> = said.filter_map(attempt).collect();
        attempts.sort_unstable();
        attempts
    }
}
