//! Reading lines: some at a time, each with an answer of its own.

use bytes::Bytes;
use futures::future::{join, join_all};
use serde::Serialize;
use utoipa::ToSchema;

use super::line::Line;
use crate::{
    http::{Problem, answer, problem::ProblemView, read::Mistakes},
    jobs::{Imported, Importer},
    schedules::{FiringLine, ScheduleImporter},
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
    /// The id of the job, the schedule or the firing.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
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

/// Who takes each kind of line in.
#[derive(Clone)]
pub(super) struct Importers {
    pub(super) jobs: Importer,
    pub(super) schedules: ScheduleImporter,
}

/// What became of a line: whether it is stored now, and of what.
type Done = Result<(bool, Option<String>), Problem>;

/// Takes all lines in; answers each, in order.
pub(super) async fn import(body: Bytes, importers: Importers) -> Vec<Bytes> {
    let mut answers = Vec::new();
    for together in together(&body) {
        answers.extend(importers.take_in(together).await);
    }
    answers
}

impl Importers {
    /// Takes some lines in, at once.
    async fn take_in(&self, lines: Vec<Numbered>) -> Vec<Bytes> {
        let (mut firings, mut others) = (Vec::new(), Vec::new());
        for (number, bytes) in lines {
            match Line::read(&bytes) {
                Ok(Line::Firing(firing)) => firings.push((number, *firing)),
                line => others.push(async move { (number, self.one(line).await) }),
            }
        }
        let (mut done, of_firings) = join(join_all(others), self.firings(firings)).await;
        done.extend(of_firings);
        done.sort_by_key(|(number, _)| *number);
        done.iter().map(|(number, done)| answer(*number, done)).collect()
    }

    async fn one(&self, line: Result<Line, Mistakes>) -> Done {
        match line? {
            Line::Job(job) => match self.jobs.import(*job).await? {
                Imported::New(id) => Ok((true, Some(id.to_string()))),
                Imported::There(id) => Ok((false, Some(id.to_string()))),
            },
            Line::Schedule(schedule) => {
                let id = schedule.1.id().to_string();
                Ok((self.schedules.import(*schedule).await?, Some(id)))
            }
            Line::Firing(_) | Line::End => Ok((false, None)),
        }
    }

    /// One statement for all.
    async fn firings(&self, lines: Vec<(usize, FiringLine)>) -> Vec<(usize, Done)> {
        let (numbers, lines): (Vec<usize>, Vec<FiringLine>) = lines.into_iter().unzip();
        let ids: Vec<String> = lines.iter().map(|line| line.id().to_owned()).collect();
        let stored = self.schedules.import_firings(lines).await;
        let done = ids.into_iter().enumerate().map(|(place, id)| match &stored {
            Ok(stored) => Ok((stored[place], Some(id))),
            Err(error) => Err(Problem::from(error.clone())),
        });
        numbers.into_iter().zip(done).collect()
    }
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

fn answer(line: usize, done: &Done) -> Bytes {
    let (status, id, error) = match done {
        Ok((true, id)) => (201, id.as_deref(), None),
        Ok((false, id)) => (200, id.as_deref(), None),
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
