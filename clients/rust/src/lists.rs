//! Listing jobs, page by page.

use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use shared_events::{Kind, Queue, Status, Timestamp};

use crate::{Client, Error, Job};

/// Which jobs; all that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One of these states; any where there are none.
    pub status: Vec<Status>,
    /// This queue.
    pub queue: Option<Queue>,
    /// This kind.
    pub kind: Option<Kind>,
    /// This object.
    pub object_id: Option<String>,
    /// Created at or after.
    pub created_after: Option<Timestamp>,
    /// Created before.
    pub created_before: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Page {
    jobs: Vec<Job>,
    next_page_token: String,
}

impl Filter {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let status: Vec<&str> = self.status.iter().map(|status| status.as_str()).collect();
        let all = [
            ("status", (!status.is_empty()).then(|| status.join(","))),
            ("queue", self.queue.as_ref().map(ToString::to_string)),
            ("kind", self.kind.as_ref().map(ToString::to_string)),
            ("object_id", self.object_id.clone()),
            ("created_after", self.created_after.map(|time| time.to_string())),
            ("created_before", self.created_before.map(|time| time.to_string())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl Client {
    /// All jobs that pass a filter, newest first, without payloads and results; pages are read as they are needed.
    pub fn list(&self, filter: &Filter) -> impl Stream<Item = Result<Job, Error>> + '_ {
        let pairs = filter.pairs();
        let pages = stream::try_unfold(Some(String::new()), move |token| {
            let mut query = pairs.clone();
            async move {
                let Some(token) = token else { return Ok::<_, Error>(None) };
                query.push(("page_token", token));
                let page: Page = self.get_json("/v1/jobs", &query).await?;
                let next = Some(page.next_page_token).filter(|token| !token.is_empty());
                Ok(Some((page.jobs, next)))
            }
        });
        pages.flat_map(|page| match page {
            Ok(jobs) => stream::iter(jobs.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }
}
