//! Invariant 1: what was accepted ends, once a run, the same in both databases.

use std::collections::HashMap;

use bson::DateTime;
use shared_events::JobId;

use super::{Case, Violation};
use crate::chaos::record::{Created, Record};
use crate::fsck::{BrokerView, Found, judge};

pub(super) fn check(record: &Record, cases: &[Case<'_>]) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut by_tag: HashMap<usize, Vec<JobId>> = HashMap::new();
    for case in cases {
        match case.client {
            Some(client) => by_tag.entry(client.script.tag).or_default().push(case.id),
            None => wrong.push(case.wrong(1, "is there, and no client has asked for it".into())),
        }
        let found = judge(case.group, &BrokerView::default(), DateTime::now());
        if found != Found::Ended {
            wrong.push(case.wrong(1, format!("has not ended the same everywhere: {found:?}")));
        }
        wrong.extend(runs(case));
    }
    for client in &record.clients {
        let tag = client.script.tag;
        let ids = by_tag.get(&tag).map_or(&[][..], Vec::as_slice);
        let job = ids.first().copied();
        if let Created::Yes(id) = client.created
            && !ids.contains(&id)
        {
            let what = format!("job {tag} was answered with 201 and is not there");
            wrong.push(Violation { invariant: 1, job: Some(id), what });
        }
        if ids.len() > 1 {
            let what = format!("job {tag} was asked for once and is there {} times: {ids:?}", ids.len());
            wrong.push(Violation { invariant: 1, job, what });
        }
        wrong.extend(client.wrong.iter().map(|answer| {
            let what = format!("job {tag} got an answer that it should not get: {answer}");
            Violation { invariant: 1, job, what }
        }));
    }
    wrong
}

/// As many runs as were asked for; those whose answer was lost may be there or not.
fn runs(case: &Case<'_>) -> Option<Violation> {
    let (client, job) = (case.client?, case.group.job.as_ref()?);
    let least = 1 + client.retries;
    let most = least + client.unclear_retries;
    (job.run < least || job.run > most)
        .then(|| case.wrong(1, format!("is at run {}, and was to be at {least} to {most}", job.run)))
}

#[cfg(test)]
mod tests {
    use super::super::{check, specimen::Specimen};
    use crate::chaos::record::Created;

    #[test]
    fn what_is_as_it_should_be_passes() {
        assert_eq!(check(&Specimen::finished().record()), []);
    }

    #[test]
    fn a_201_whose_job_is_gone_is_found() {
        let mut record = Specimen::finished().record();
        record.groups.clear();
        record.lines.clear();
        Specimen::fails(&record, 1, "is not there");
        record.clients[0].created = Created::Unknown;
        assert_eq!(check(&record), [], "an unanswered create may be absent");
    }

    #[test]
    fn an_unanswered_create_that_is_half_there_is_found() {
        let mut record = Specimen::finished().record();
        record.clients[0].created = Created::Unknown;
        assert_eq!(check(&record), []);
        record.groups.values_mut().for_each(|group| group.job = None);
        Specimen::fails(&record, 1, "the api-service does not");
    }

    #[test]
    fn a_second_job_for_one_request_is_found() {
        let mut record = Specimen::finished().record();
        let other = Specimen::finished().record();
        record.groups.extend(other.groups);
        record.lines.extend(other.lines);
        record.effects.extend(other.effects);
        Specimen::fails(&record, 1, "is there 2 times");
    }

    #[test]
    fn an_end_that_differs_between_the_databases_is_found() {
        let mut record = Specimen::finished().record();
        record.groups.values_mut().for_each(|group| group.runs.clear());
        Specimen::fails(&record, 1, "the ledger does not know it");
        let mut record = Specimen::finished().record();
        for group in record.groups.values_mut() {
            group.job.as_mut().unwrap().status = shared_events::Status::Failed;
        }
        Specimen::fails(&record, 1, "in the ledger");
    }

    #[test]
    fn a_run_that_nobody_asked_for_or_that_was_promised_is_found() {
        let mut record = Specimen::finished().record();
        record.clients[0].retries = 1;
        Specimen::fails(&record, 1, "was to be at 2 to 2");
    }
}
