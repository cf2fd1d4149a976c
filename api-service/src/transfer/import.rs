//! Reading lines: some at a time, each with an answer of its own.

use bytes::Bytes;
use futures::future::join_all;
use serde::Serialize;
use shared_events::JobId;
use utoipa::ToSchema;

use super::line::Line;
use crate::{
    http::{Problem, answer, problem::ProblemView},
    jobs::{Imported, Importer},
};

/// How many lines are stored together, and about how many bytes.
const TOGETHER: usize = 500;
const TOGETHER_BYTES: usize = 4 << 20;

/// What became of a line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportResult)]
pub(super) struct LineAnswer<'a> {
    /// Which line, from 1; empty ones are counted, and have no answer.
    line: usize,
    /// 201: it is stored. 200: it was there before, or was deleted since, and nothing was changed. Else why not.
    #[schema(example = 201)]
    status: u16,
    /// The job's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<JobId>,
    /// Why it was not taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemView<'a>>)]
    error: Option<&'a Problem>,
}

/// What became of each line.
#[derive(ToSchema)]
#[schema(as = ImportResults)]
#[allow(dead_code, reason = "describes what is written piece by piece")]
pub(super) struct LineAnswers<'a> {
    results: Vec<LineAnswer<'a>>,
}

/// Takes all lines in; answers each, in order.
pub(super) async fn import(body: Bytes, importer: Importer) -> Vec<Bytes> {
    let mut answers = Vec::new();
    for together in together(&body) {
        answers.extend(join_all(together.into_iter().map(|line| one(line, &importer))).await);
    }
    answers
}

/// A line and its number, from 1.
type Numbered = (usize, Bytes);

/// The lines that are not empty, in groups of a few MiB at most.
fn together(body: &Bytes) -> Vec<Vec<Numbered>> {
    let (mut groups, mut bytes): (Vec<Vec<Numbered>>, usize) = (Vec::new(), 0);
    let lines = (1..).zip(body.split(|byte| *byte == b'\n'));
    for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let fits = bytes + line.len() <= TOGETHER_BYTES;
        match groups.last_mut().filter(|group| fits && group.len() < TOGETHER) {
            Some(group) => group.push((number, body.slice_ref(line))),
            None => {
                bytes = 0;
                groups.push(vec![(number, body.slice_ref(line))]);
            }
        }
        bytes += line.len();
    }
    groups
}

async fn one((line, bytes): Numbered, importer: &Importer) -> Bytes {
    let done = match Line::read(&bytes) {
        Ok(Line::Job(job)) => importer.import(*job).await.map(Some).map_err(Problem::from),
        Ok(Line::End) => Ok(None),
        Err(mistakes) => Err(mistakes.into()),
    };
    let (status, id, error) = match &done {
        Ok(Some(Imported::New(id))) => (201, Some(*id), None),
        Ok(Some(Imported::There(id))) => (200, Some(*id), None),
        Ok(None) => (200, None, None),
        Err(problem) => (problem.status(), None, Some(problem)),
    };
    answer::piece(&LineAnswer { line, status, id, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_also_where_they_are_empty_and_grouped() {
        let body = Bytes::from_static(b"a\n\n b \r\n\nc");
        let groups = together(&body);
        let numbers: Vec<usize> = groups.iter().flatten().map(|(number, _)| *number).collect();
        assert_eq!((numbers, groups.len()), (vec![1, 3, 5], 1));
        let many = Bytes::from("x\n".repeat(2 * TOGETHER + 1));
        assert_eq!(together(&many).iter().map(Vec::len).collect::<Vec<_>>(), [TOGETHER, TOGETHER, 1]);
        let large = Bytes::from(format!("{}\n", "x".repeat(TOGETHER_BYTES - 1)).repeat(3));
        assert_eq!(together(&large).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
