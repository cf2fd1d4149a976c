//! Updates: many statements in one command, and how durable they are.

use bson::{RawArrayBuf, RawBson, RawDocumentBuf, rawdoc};
use mongodb::{
    error::IndexedWriteError,
    options::{Acknowledgment, WriteConcern},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::Mongo;
use crate::StoreError;

/// The most bytes of one `update` command: well under the 16 MB of a BSON document.
pub(super) const COMMAND_BYTES: usize = 8 << 20;

/// Whether a write is answered only when it is in the journal of a majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `w: majority, j: true`.
    Journaled,
    /// `w: 1`: for what may be lost in a crash, since a scan finds it again.
    InMemory,
}

impl Durability {
    pub(super) fn concern(self) -> WriteConcern {
        match self {
            Self::Journaled => WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build(),
            Self::InMemory => WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(false).build(),
        }
    }
}

/// One statement of an `update` command.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Which documents.
    pub filter: RawDocumentBuf,
    /// What to do with them: a document of update operators, or a pipeline.
    pub update: RawBson,
    /// All that match, not just the first.
    pub multi: bool,
}

impl Statement {
    /// Changes the one document that matches.
    #[must_use]
    pub const fn one(filter: RawDocumentBuf, update: RawDocumentBuf) -> Self {
        Self { filter, update: RawBson::Document(update), multi: false }
    }

    /// Changes all documents that match.
    #[must_use]
    pub const fn many(filter: RawDocumentBuf, update: RawDocumentBuf) -> Self {
        Self { filter, update: RawBson::Document(update), multi: true }
    }

    /// In bytes, roughly.
    fn weight(&self) -> usize {
        let update = match &self.update {
            RawBson::Document(operators) => operators.as_bytes().len(),
            RawBson::Array(pipeline) => pipeline.as_bytes().len(),
            _ => 0,
        };
        self.filter.as_bytes().len() + update
    }
}

/// What became of an `update` command.
#[derive(Debug, Deserialize)]
struct UpdateReply {
    n: i64,
    #[serde(default, rename = "writeErrors")]
    write_errors: Vec<IndexedWriteError>,
    #[serde(default, rename = "writeConcernError")]
    write_concern_error: Option<mongodb::error::WriteConcernError>,
}

/// What became of statements of which each was tried.
#[derive(Debug, Default)]
pub struct Updated {
    /// How many documents matched, all statements together.
    pub matched: u64,
    /// Why statements were refused.
    pub refused: Vec<StoreError>,
}

impl Updated {
    fn add(&mut self, other: Self) {
        self.matched += other.matched;
        self.refused.extend(other.refused);
    }
}

impl Mongo {
    /// Runs the statements, none depending on another, in one `update` command, or in several where
    /// they are too large for one; says how many documents matched, all statements together.
    ///
    /// # Errors
    /// Where any statement failed or a command as a whole: read again to learn what was done.
    pub async fn update(
        &self,
        collection: &str,
        statements: Vec<Statement>,
        durability: Durability,
    ) -> Result<u64, StoreError> {
        let updated = self.update_each(collection, statements, durability).await?;
        updated.refused.into_iter().next().map_or(Ok(updated.matched), Err)
    }

    /// The same where one statement's refusal is no reason to do without the others: says which were refused.
    ///
    /// # Errors
    /// Where a command as a whole failed: read again to learn what was done.
    pub async fn update_each(
        &self,
        collection: &str,
        statements: Vec<Statement>,
        durability: Durability,
    ) -> Result<Updated, StoreError> {
        let _watch = self.watch("update");
        let (mut updated, mut bytes, mut updates) = (Updated::default(), 0, RawArrayBuf::new());
        for statement in statements {
            let size = statement.weight();
            if bytes > 0 && bytes + size > COMMAND_BYTES {
                updated.add(self.update_command(collection, std::mem::take(&mut updates), durability).await?);
                bytes = 0;
            }
            bytes += size;
            updates.push(rawdoc! { "q": statement.filter, "u": statement.update, "multi": statement.multi });
        }
        if bytes > 0 {
            updated.add(self.update_command(collection, updates, durability).await?);
        }
        Ok(updated)
    }

    async fn update_command(
        &self,
        collection: &str,
        updates: RawArrayBuf,
        durability: Durability,
    ) -> Result<Updated, StoreError> {
        let asked = Instant::now();
        let concern = match durability {
            Durability::Journaled => rawdoc! { "w": "majority", "j": true },
            Durability::InMemory => rawdoc! { "w": 1 },
        };
        let command =
            rawdoc! { "update": collection, "updates": updates, "ordered": false, "writeConcern": concern };
        let reply = self.database.run_raw_command(command).await.map_err(|error| self.failed(error))?;
        let reply: UpdateReply = bson::deserialize_from_document(reply)
            .map_err(|error| StoreError::Unreadable(error.to_string()))?;
        if reply.write_concern_error.is_some() {
            self.note_failure();
            return Err(StoreError::Unknown);
        }
        let refused =
            |error: IndexedWriteError| StoreError::Refused { code: error.code, message: error.message };
        let updated = Updated {
            matched: u64::try_from(reply.n).unwrap_or(0),
            refused: reply.write_errors.into_iter().map(refused).collect(),
        };
        if !updated.refused.is_empty() {
            self.note_failure();
        } else if durability == Durability::Journaled && updated.matched > 0 {
            self.writable.written(asked);
        }
        Ok(updated)
    }
}
