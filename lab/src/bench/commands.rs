//! What the databases were asked to do: how many commands, and how large the groups in them are. It says
//! what CPU time alone does not.

use std::collections::BTreeMap;

use anyhow::Result;
use bson::{Bson, Document, doc};
use mongodb::Client;
use serde::Serialize;
use stack::Stack;

/// Counters of one mongod, since its start or since an earlier reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    insert_commands: i64,
    documents: i64,
    update_commands: i64,
    statements: i64,
    find_commands: i64,
    log_syncs: i64,
}

/// For each job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Commands {
    pub(super) documents_per_job: f64,
    pub(super) documents_per_insert: f64,
    pub(super) statements_per_job: f64,
    pub(super) statements_per_update: f64,
    pub(super) finds_per_job: f64,
    /// Syncs of the journal to the disk.
    pub(super) syncs_per_job: f64,
}

/// Reads the counters of both databases.
pub(super) struct Databases(Vec<(String, Client)>);

impl Databases {
    pub(super) async fn of(stack: &Stack) -> Result<Self> {
        let mut clients = Vec::new();
        for node in [stack.api_mongo(), stack.job_mongo()] {
            clients.push((node.name().to_owned(), Client::with_uri_str(node.url()).await?));
        }
        Ok(Self(clients))
    }

    pub(super) async fn counters(&self) -> Result<BTreeMap<String, Counters>> {
        let mut counters = BTreeMap::new();
        for (name, client) in &self.0 {
            let status = client.database("admin").run_command(doc! { "serverStatus": 1 }).await?;
            counters.insert(name.clone(), Counters::of(&status));
        }
        Ok(counters)
    }
}

impl Counters {
    fn of(status: &Document) -> Self {
        Self {
            insert_commands: number(status, &["metrics", "commands", "insert", "total"]),
            documents: number(status, &["opcounters", "insert"]),
            update_commands: number(status, &["metrics", "commands", "update", "total"]),
            statements: number(status, &["opcounters", "update"]),
            find_commands: number(status, &["metrics", "commands", "find", "total"]),
            log_syncs: number(status, &["wiredTiger", "log", "log sync operations"]),
        }
    }

    /// What was done since `earlier`, for each of so many jobs.
    pub(super) fn since(self, earlier: Self, jobs: usize) -> Commands {
        let per = |many: i64, few: i64| if few == 0 { 0.0 } else { many as f64 / few as f64 };
        let per_job = |now: i64, before: i64| (now - before) as f64 / jobs as f64;
        Commands {
            documents_per_job: per_job(self.documents, earlier.documents),
            documents_per_insert: per(
                self.documents - earlier.documents,
                self.insert_commands - earlier.insert_commands,
            ),
            statements_per_job: per_job(self.statements, earlier.statements),
            statements_per_update: per(
                self.statements - earlier.statements,
                self.update_commands - earlier.update_commands,
            ),
            finds_per_job: per_job(self.find_commands, earlier.find_commands),
            syncs_per_job: per_job(self.log_syncs, earlier.log_syncs),
        }
    }
}

fn number(status: &Document, path: &[&str]) -> i64 {
    let Some((last, sections)) = path.split_last() else { return 0 };
    let section = sections.iter().try_fold(status, |section, name| section.get_document(name).ok());
    match section.and_then(|section| section.get(last)) {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_from_one_reading_to_the_next() {
        let status = |commands: i64, documents: i32| {
            doc! {
                "metrics": { "commands": { "insert": { "total": commands } } },
                "opcounters": { "insert": documents },
            }
        };
        let (before, after) = (Counters::of(&status(5, 100)), Counters::of(&status(15, 600)));
        let commands = after.since(before, 250);
        assert_eq!((commands.documents_per_insert, commands.documents_per_job), (50.0, 2.0));
        assert_eq!(commands.statements_per_update, 0.0);
    }
}
