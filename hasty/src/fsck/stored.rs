//! Decoding what both services store, by the services' own types. A document that they could not read is an error that
//! names it.

use anyhow::{Context, Result};
use api_service::jobs::{EARLIER_RUNS, JOBS, Job};
use bson::raw::RawDocument;
use bson::{Bson, Document};
use job_service::ledger::{RUNS, Run};
use shared_events::{JobId, RunId};

use super::group::JobOrStub;

/// What one collection has.
pub(super) trait Stored: Sized + Send + Sync {
    const COLLECTION: &str;

    fn decode(document: &RawDocument) -> Result<Self>;

    fn job_id(&self) -> JobId;
}

/// The job at the end of an earlier run, which is stored under the run's id.
pub(super) struct EarlierRun(pub(super) Job);

impl Stored for JobOrStub {
    const COLLECTION: &str = JOBS;

    fn decode(document: &RawDocument) -> Result<Self> {
        // By this field the api-service tells a stub from a job, too.
        let is_stub = document.get("gone_at")?.is_some();
        Ok(if is_stub {
            Self::Stub(bson::deserialize_from_slice(document.as_bytes())?)
        } else {
            Self::Job(bson::deserialize_from_slice(document.as_bytes())?)
        })
    }

    fn job_id(&self) -> JobId {
        match self {
            Self::Job(job) => job.job_id(),
            Self::Stub(stub) => JobId::from(uuid::Uuid::from_bytes(stub.id.bytes())),
        }
    }
}

impl Stored for EarlierRun {
    const COLLECTION: &str = EARLIER_RUNS;

    fn decode(document: &RawDocument) -> Result<Self> {
        let run: RunId = document.get_str("_id")?.parse()?;
        let mut document = Document::try_from(document)?;
        document.insert("_id", stored_id(run.job));
        Ok(Self(bson::deserialize_from_document(document)?))
    }

    fn job_id(&self) -> JobId {
        self.0.job_id()
    }
}

impl Stored for Run {
    const COLLECTION: &str = RUNS;

    fn decode(document: &RawDocument) -> Result<Self> {
        Ok(bson::deserialize_from_slice(document.as_bytes())?)
    }

    fn job_id(&self) -> JobId {
        self.id.job
    }
}

/// Decodes a document, or says which one is not readable.
pub(super) fn decode<T: Stored>(document: &RawDocument) -> Result<T> {
    T::decode(document).with_context(|| {
        let id = document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
        format!("the document {} of {} is not readable", id.unwrap_or(Bson::Null), T::COLLECTION)
    })
}

/// A job id as the api-service stores it.
pub(super) fn stored_id(id: JobId) -> bson::Uuid {
    bson::Uuid::from_bytes(id.uuid().into_bytes())
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, RawDocumentBuf, doc};

    use super::*;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    #[test]
    fn a_stub_is_told_from_a_job() {
        let stub = doc! {
            "_id": bson::Uuid::new(), "dedup_key": "a", "created_at": DateTime::now(), "gone_at": DateTime::now(),
            "until": DateTime::now(),
        };
        assert!(matches!(decode(&raw(&stub)).unwrap(), JobOrStub::Stub(_)));
    }

    #[test]
    fn a_document_that_is_not_readable_is_named() {
        let run = format!("{}.1", JobId::generate());
        let error = decode::<Run>(&raw(&doc! { "_id": &run, "status": "paused" })).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(&run) && error.contains("paused"), "{error}");
    }
}
