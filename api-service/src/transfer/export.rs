//! Writing lines: page by page, each read when the client has taken what was before it.

use std::{collections::VecDeque, time::Duration};

use bson::Uuid;
use bytes::Bytes;
use futures::{Stream, stream};
use serde::Serialize;
use service_kit::{StoreError, retry::jittered, telemetry::chain};
use shared_events::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::line::What;
use crate::jobs::{Jobs, line_of};

/// How often a page is read again that the database does not answer, and the pause before that.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// The line of a job.
#[derive(Serialize)]
struct JobLine<J> {
    job: J,
}

/// The last line.
#[derive(Serialize)]
struct EndLine {
    end: End,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct End {
    /// How many jobs.
    jobs: u64,
    /// How many are left out, since only a newer version can read them.
    unreadable: u64,
}

/// How far an export is.
struct Export {
    jobs: Jobs,
    left: VecDeque<What>,
    until: Timestamp,
    after: Option<Uuid>,
    written: End,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

/// The lines of what is asked for, some at a time. Where the database stays away it ends in the middle: the last line is
/// missing, and the connection breaks.
pub(super) fn lines(
    jobs: Jobs,
    what: Vec<What>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, StoreError>> {
    let until = Timestamp::from_millis(jobs.mongo().clock().now_ms() + 1);
    let export = Export {
        jobs,
        left: what.into(),
        until,
        after: None,
        written: End::default(),
        is_over: false,
        _permit: permit,
    };
    stream::try_unfold(
        export,
        |mut export| async move { Ok(export.next().await?.map(|lines| (lines, export))) },
    )
}

impl Export {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while let Some(What::Jobs) = self.left.front() {
            if let Some(lines) = self.next_jobs().await? {
                return Ok(Some(lines));
            }
            self.left.pop_front();
        }
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(None);
        }
        let mut last = Vec::new();
        write(&mut last, &EndLine { end: self.written });
        Ok(Some(last.into()))
    }

    /// None where there are no more.
    async fn next_jobs(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let page = self.page().await?;
            let Some(last) = page.last else { return Ok(None) };
            self.after = Some(last);
            self.written.unreadable += page.unreadable as u64;
            self.written.jobs += page.jobs.len() as u64;
            let mut lines = Vec::new();
            for job in page.jobs {
                write(&mut lines, &JobLine { job: line_of(&job) });
            }
            if !lines.is_empty() {
                return Ok(Some(lines.into()));
            }
        }
    }

    async fn page(&self) -> Result<crate::jobs::ExportPage, StoreError> {
        let mut tries = 0;
        loop {
            match self.jobs.export_page(self.after, self.until).await {
                Ok(page) => return Ok(page),
                Err(error) if tries < TRIES => {
                    warn!(error = chain(&error), "jobs could not be read for an export; trying again");
                    tries += 1;
                    tokio::time::sleep(jittered(PAUSE)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn write(lines: &mut Vec<u8>, line: &impl Serialize) {
    // Nothing of it has keys that are no strings, and a vector takes everything.
    if serde_json::to_writer(&mut *lines, line).is_ok() {
        lines.push(b'\n');
    }
}
