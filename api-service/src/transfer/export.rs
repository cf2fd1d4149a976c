//! Writing lines: page by page, each read when the client has taken what was before it.

use std::{collections::VecDeque, time::Duration};

use bson::{Bson, Uuid};
use bytes::Bytes;
use futures::{Stream, stream};
use serde::Serialize;
use service_kit::{StoreError, retry::jittered, telemetry::chain};
use shared_events::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::line::What;
use crate::{
    jobs::{Jobs, line_of},
    schedules::{ScheduleStore, firing_line, schedule_line},
};

/// How often a page is read again that the database does not answer, and the pause before that.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// A line, but the last.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ItemLine<T> {
    Schedule(T),
    Firing(T),
    Job(T),
}

/// The last line.
#[derive(Serialize)]
struct EndLine {
    end: End,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct End {
    /// How many schedules, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedules: Option<u64>,
    /// How many firings of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    firings: Option<u64>,
    /// How many jobs, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<u64>,
    /// How many are left out, since only a newer version can read them.
    unreadable: u64,
}

/// What is read one after the other. Firings are read after schedules, and jobs after firings: what a schedule has decided
/// is there with it, and so is the job, unless it was deleted.
#[derive(Debug, Clone)]
enum Part {
    Schedules { after: Option<Bson> },
    Firings { after: Option<Bson> },
    Jobs { after: Option<Uuid>, until: Option<Timestamp> },
}

/// Some lines, and how the part goes on; none at its end.
struct Page {
    lines: Vec<u8>,
    count: usize,
    unreadable: usize,
    next: Option<Part>,
}

/// How far an export is.
struct Export {
    jobs: Jobs,
    schedules: ScheduleStore,
    left: VecDeque<Part>,
    written: End,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

/// The lines of what is asked for, some at a time. Where the database stays away it ends in the middle: the last line is
/// missing, and the connection breaks.
pub(super) fn lines(
    jobs: Jobs,
    schedules: ScheduleStore,
    mut what: Vec<What>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, StoreError>> {
    what.sort();
    what.dedup();
    let parts = what.into_iter().flat_map(|what| match what {
        What::Schedules => vec![Part::Schedules { after: None }, Part::Firings { after: None }],
        What::Jobs => vec![Part::Jobs { after: None, until: None }],
    });
    let export = Export {
        jobs,
        schedules,
        left: parts.collect(),
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
        while let Some(part) = self.left.pop_front() {
            let Page { lines, count, unreadable, next } = self.page(&part).await?;
            let counted = match part {
                Part::Schedules { .. } => &mut self.written.schedules,
                Part::Firings { .. } => &mut self.written.firings,
                Part::Jobs { .. } => &mut self.written.jobs,
            };
            *counted = Some(counted.unwrap_or(0) + count as u64);
            self.written.unreadable += unreadable as u64;
            if let Some(next) = next {
                self.left.push_front(next);
            }
            if !lines.is_empty() {
                return Ok(Some(lines.into()));
            }
        }
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(None);
        }
        let mut last = Vec::new();
        write(&mut last, &EndLine { end: self.written });
        Ok(Some(last.into()))
    }

    /// Tries again for a while.
    async fn page(&self, part: &Part) -> Result<Page, StoreError> {
        let mut tries = 0;
        loop {
            match self.read(part).await {
                Ok(page) => return Ok(page),
                Err(error) if tries < TRIES => {
                    warn!(error = chain(&error), "an export's lines could not be read; trying again");
                    tries += 1;
                    tokio::time::sleep(jittered(PAUSE)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn read(&self, part: &Part) -> Result<Page, StoreError> {
        let mut lines = Vec::new();
        match part.clone() {
            Part::Schedules { after } => {
                let page = self.schedules.export_schedules(after).await?;
                for schedule in &page.items {
                    write(&mut lines, &ItemLine::Schedule(schedule_line(schedule)));
                }
                let next = page.last.map(|last| Part::Schedules { after: Some(last) });
                Ok(Page { lines, count: page.items.len(), unreadable: page.unreadable, next })
            }
            Part::Firings { after } => {
                let page = self.schedules.export_firings(after).await?;
                for firing in &page.items {
                    write(&mut lines, &ItemLine::Firing(firing_line(firing)));
                }
                let next = page.last.map(|last| Part::Firings { after: Some(last) });
                Ok(Page { lines, count: page.items.len(), unreadable: page.unreadable, next })
            }
            Part::Jobs { after, until } => {
                let now = || Timestamp::from_millis(self.jobs.mongo().clock().now_ms() + 1);
                let until = until.unwrap_or_else(now);
                let page = self.jobs.export_page(after, until).await?;
                for job in &page.jobs {
                    write(&mut lines, &ItemLine::Job(line_of(job)));
                }
                let next = page.last.map(|last| Part::Jobs { after: Some(last), until: Some(until) });
                Ok(Page { lines, count: page.jobs.len(), unreadable: page.unreadable, next })
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
