//! Invariant 1: what was accepted ends, once a run, the same in both databases.

use std::collections::HashMap;

use bson::DateTime;
use hasty::fsck::{BrokerView, Finding, judge};
use shared_events::{JobId, streams};

use super::{Case, Violation};
use crate::chaos::mix::Action;
use crate::chaos::record::{Created, Deleted, Record};

pub(super) fn check(record: &Record, cases: &[Case<'_>]) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut by_tag: HashMap<usize, Vec<JobId>> = HashMap::new();
    let bulk_retries = record.sweeps.iter().filter(|sweep| sweep.action == Action::Retry).count() as u32;
    for case in cases {
        match case.client {
            Some(client) => by_tag.entry(client.script.tag).or_default().push(case.id),
            // Held against its firing elsewhere.
            None if case.group.job.as_ref().is_some_and(|job| job.schedule.is_some()) => {}
            None => wrong.push(case.wrong(1, "is there, and no client has asked for it".into())),
        }
        let finding = judge(case.group, &BrokerView::default(), DateTime::now(), streams::RETENTION);
        let deleted = case.client.map_or(Deleted::No, |client| client.deleted);
        match finding {
            Finding::Ended if deleted == Deleted::Yes => {
                wrong.push(case.wrong(1, "was deleted, and is there".into()));
            }
            Finding::Ended => {}
            Finding::Gone if deleted != Deleted::No => {}
            Finding::Gone => wrong.push(case.wrong(1, "is gone, and nobody has deleted it".into())),
            _ => wrong.push(case.wrong(1, format!("has not ended the same everywhere: {finding:?}"))),
        }
        wrong.extend(runs(case, bulk_retries));
    }
    wrong.extend(objects(record, cases));
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
        if client.created == Created::Refused && !ids.is_empty() {
            let what = format!("job {tag} was refused and is there");
            wrong.push(Violation { invariant: 1, job, what });
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
fn runs(case: &Case<'_>, bulk_retries: u32) -> Option<Violation> {
    let (client, job) = (case.client?, case.group.job.as_ref()?);
    let least = 1 + client.retries;
    let most = least + client.unclear_retries + if client.script.is_swept() { bulk_retries } else { 0 };
    (job.run < least || job.run > most)
        .then(|| case.wrong(1, format!("is at run {}, and was to be at {least} to {most}", job.run)))
}

/// An object has one job; whoever was refused for one was refused for that.
fn objects(record: &Record, cases: &[Case<'_>]) -> Vec<Violation> {
    let mut jobs: HashMap<usize, Vec<JobId>> = HashMap::new();
    for case in cases {
        if let Some(object) = case.client.and_then(|client| client.script.object) {
            jobs.entry(object).or_default().push(case.id);
        }
    }
    let several = jobs.iter().filter(|(_, ids)| ids.len() > 1).map(|(object, ids)| {
        let what = format!("object {object} has {} jobs: {ids:?}", ids.len());
        Violation { invariant: 1, job: ids.first().copied(), what }
    });
    let refused = record.clients.iter().filter(|client| client.created == Created::Refused);
    let for_nothing =
        refused.filter(|client| client.script.object.is_none_or(|object| !jobs.contains_key(&object)));
    let for_nothing = for_nothing.map(|client| {
        let what = format!("job {} was refused for its object, which has none", client.script.tag);
        Violation { invariant: 1, job: None, what }
    });
    several.chain(for_nothing).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{check, sample::Sample};
    use crate::chaos::record::{Created, Deleted};

    #[test]
    fn what_is_as_it_should_be_passes() {
        assert_eq!(check(&Sample::finished().record()), []);
    }

    #[test]
    fn a_201_whose_job_is_gone_is_found() {
        let mut record = Sample::finished().record();
        record.groups.clear();
        record.history.clear();
        Sample::fails(&record, 1, "is not there");
        record.clients[0].created = Created::Unknown;
        assert_eq!(check(&record), [], "an unanswered create may be absent");
    }

    #[test]
    fn an_unanswered_create_that_is_half_there_is_found() {
        let mut record = Sample::finished().record();
        record.clients[0].created = Created::Unknown;
        assert_eq!(check(&record), []);
        record.groups.values_mut().for_each(|group| group.job = None);
        Sample::fails(&record, 1, "the api-service does not");
    }

    #[test]
    fn a_deleted_job_has_to_be_gone_and_no_other() {
        let mut record = Sample::finished().record();
        record.clients[0].deleted = Deleted::Yes;
        Sample::fails(&record, 1, "was deleted, and is there");
        record.groups.values_mut().for_each(|group| (group.job, group.has_stub) = (None, true));
        assert_eq!(check(&record), []);
        record.clients[0].deleted = Deleted::No;
        Sample::fails(&record, 1, "nobody has deleted it");
    }

    #[test]
    fn a_refusal_needs_a_job_for_the_object_and_leaves_none() {
        let mut record = Sample::finished().record();
        let mut other = record.clients[0].clone();
        (other.script.tag, other.script.object, other.created) = (1, Some(7), Created::Refused);
        other.seen.clear();
        record.clients.push(other);
        Sample::fails(&record, 1, "which has none");
        record.clients[0].script.object = Some(7);
        assert_eq!(check(&record), []);
        record.clients[0].created = Created::Refused;
        Sample::fails(&record, 1, "was refused and is there");
    }

    #[test]
    fn a_second_job_for_an_object_is_found() {
        let mut record = Sample::finished().record();
        record.clients[0].script.object = Some(7);
        let other = Sample::finished().record();
        let mut client = other.clients[0].clone();
        (client.script.tag, client.script.object) = (1, Some(7));
        record.clients.push(client);
        let renumbered = other.groups.into_iter().map(|(id, mut group)| {
            group.job.as_mut().unwrap().payload = Some("{\"tag\":1}".into());
            (id, group)
        });
        record.groups.extend(renumbered);
        record.history.extend(other.history);
        record.effects.extend(other.effects);
        Sample::fails(&record, 1, "object 7 has 2 jobs");
    }

    #[test]
    fn a_second_job_for_one_request_is_found() {
        let mut record = Sample::finished().record();
        let other = Sample::finished().record();
        record.groups.extend(other.groups);
        record.history.extend(other.history);
        record.effects.extend(other.effects);
        Sample::fails(&record, 1, "is there 2 times");
    }

    #[test]
    fn an_end_that_differs_between_the_databases_is_found() {
        let mut record = Sample::finished().record();
        record.groups.values_mut().for_each(|group| group.runs.clear());
        Sample::fails(&record, 1, "the ledger does not know it");
        let mut record = Sample::finished().record();
        for group in record.groups.values_mut() {
            group.job.as_mut().unwrap().status = shared_events::Status::Failed;
        }
        Sample::fails(&record, 1, "in the ledger");
    }

    #[test]
    fn a_run_that_nobody_asked_for_or_that_was_promised_is_found() {
        let mut record = Sample::finished().record();
        record.clients[0].retries = 1;
        Sample::fails(&record, 1, "was to be at 2 to 2");
    }
}
