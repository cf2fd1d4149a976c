//! A process dies in each gap between two steps, and what was promised is kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{Answer, App, Gate, JobView, NewJob, Status};
use reqwest::{Method, RequestBuilder};
use stack::{Node, Stack, poll};

/// Longer than the broker waits for an ack before it delivers an event again.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is going on when the process dies.
#[derive(Debug, Clone, Copy)]
enum Story {
    /// A job is created and done.
    Create,
    /// A job waits for a slot of its kind.
    Waits,
    /// A job takes longer than a moment.
    Long,
    /// A job fails at first.
    FailsAtFirst,
    /// A running job is cancelled.
    Cancel,
    /// A job whose time is to come is created, and its time comes.
    Delayed,
    /// A job does not start in its time.
    Expires,
    /// A job whose time is to come is changed.
    Change,
    /// A job whose time is to come is cancelled.
    CancelScheduled,
    /// A job that has ended is tried again.
    Retry,
    /// A job that has ended is deleted.
    Delete,
    /// A schedule fires.
    Schedule,
}

/// Every gap, and what is going on there. Those of `api.` are the api-service's, `job.` the job-service's.
const GAPS: [(&str, Story); 38] = [
    ("api.create.read", Story::Create),
    ("api.create.stored", Story::Create),
    ("api.relay.taken", Story::Create),
    ("api.relay.published", Story::Create),
    ("api.unmarking.taken", Story::Long),
    ("api.events.read", Story::Create),
    ("api.events.applied", Story::Create),
    ("api.events.broadcast", Story::Create),
    ("api.due.found", Story::Delayed),
    ("api.due.promoted", Story::Delayed),
    ("api.due.expired", Story::Expires),
    ("api.cancel.read", Story::Cancel),
    ("api.cancel.stored", Story::Cancel),
    ("api.cancel.read", Story::CancelScheduled),
    ("api.cancel.ended", Story::CancelScheduled),
    ("api.change.read", Story::Change),
    ("api.change.stored", Story::Change),
    ("api.retry.copied", Story::Retry),
    ("api.retry.stored", Story::Retry),
    ("api.delete.removed", Story::Delete),
    ("api.schedules.recorded", Story::Schedule),
    ("api.schedules.advanced", Story::Schedule),
    ("api.schedules.created", Story::Schedule),
    ("job.fetch.fetched", Story::Create),
    ("job.claim.stored", Story::Create),
    ("job.claim.waiting", Story::Waits),
    ("job.lease.renewed", Story::Long),
    ("job.lease.acked", Story::Long),
    ("job.attempt.over", Story::Create),
    ("job.attempt.over", Story::FailsAtFirst),
    ("job.attempt.recorded", Story::Create),
    ("job.attempt.recorded", Story::FailsAtFirst),
    ("job.relay.published", Story::Create),
    ("job.relay.published", Story::FailsAtFirst),
    ("job.due.taken", Story::FailsAtFirst),
    ("job.control.read", Story::Cancel),
    ("job.control.recorded", Story::Cancel),
    ("job.control.broadcast", Story::Cancel),
];

#[tokio::test]
async fn an_api_service_that_dies_while_a_job_runs_leaves_nothing_that_does_not_heal() {
    play(|gap, _| {
        ["api.create", "api.relay", "api.unmarking", "api.events", "api.due"]
            .iter()
            .any(|of| gap.starts_with(of))
    })
    .await;
}

#[tokio::test]
async fn an_api_service_that_dies_while_a_job_is_changed_leaves_nothing_that_does_not_heal() {
    play(|gap, _| {
        ["api.cancel", "api.change", "api.retry", "api.delete"].iter().any(|of| gap.starts_with(of))
    })
    .await;
}

#[tokio::test]
async fn an_api_service_that_dies_while_a_schedule_fires_leaves_nothing_that_does_not_heal() {
    play(|gap, _| gap.starts_with("api.schedules")).await;
}

#[tokio::test]
async fn a_job_service_that_dies_leaves_nothing_that_does_not_heal() {
    play(|gap, story| gap.starts_with("job.") && !matches!(story, Story::FailsAtFirst | Story::Cancel)).await;
}

#[tokio::test]
async fn a_job_service_that_dies_between_attempts_leaves_nothing_that_does_not_heal() {
    play(|gap, story| gap.starts_with("job.") && matches!(story, Story::FailsAtFirst | Story::Cancel)).await;
}

async fn play(is_meant: impl Fn(&str, Story) -> bool) {
    let quick = Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true).env("LEASE_S", 1);
    let quick = quick.env("RELAY_AFTER_S", 0.3).env("RELAY_SCAN_S", 0.2).env("DUE_SCAN_S", 0.2);
    let quick = quick.env("KIND_SLOTS", "sleep:1");
    let app = App::start(quick.env("RETRY_BASE_S", 0.05)).await;
    let meant = GAPS.into_iter().enumerate().filter(|(_, (gap, story))| is_meant(gap, *story));
    for (number, (gap, story)) in meant {
        eprintln!("{gap} ({story:?})");
        Scene { app: &app, gap, key: format!("{number}") }.play(story).await;
    }
}

struct Scene<'a> {
    app: &'a App,
    gap: &'a str,
    key: String,
}

impl Scene<'_> {
    async fn play(&self, story: Story) {
        match story {
            Story::Create => self.create(&NewJob::noop(), None).await,
            Story::Waits => self.waits().await,
            Story::Long => {
                let gate = Gate::new();
                self.create(&gate.job(), Some(&gate)).await;
            }
            Story::FailsAtFirst => self.create(&NewJob::fault(&["retry", "done"]), None).await,
            Story::Delayed => self.create(&NewJob::noop().with("delay_s", 1), None).await,
            Story::Cancel => self.cancel().await,
            Story::Expires => self.expires().await,
            Story::Change => self.change().await,
            Story::CancelScheduled => self.cancel_scheduled().await,
            Story::Retry => self.retry().await,
            Story::Delete => self.delete().await,
            Story::Schedule => self.schedule().await,
        }
    }

    /// The job is held at the gate, where there is one, until the process has died.
    async fn create(&self, job: &NewJob, gate: Option<&Gate>) {
        self.arm().await;
        let request =
            || self.app.request(Method::POST, "/v1/jobs").json(job).header("Idempotency-Key", &self.key);
        let created = self.through_death(request).await.job();
        if let Some(gate) = gate {
            gate.open();
        }
        self.ends(&created, Status::Finished).await;
    }

    /// Two jobs share the one slot of their kind.
    async fn waits(&self) {
        self.arm().await;
        let first = self.app.create(&NewJob::sleep(2.0)).await;
        let request = || {
            let second = NewJob::sleep(0.0);
            self.app.request(Method::POST, "/v1/jobs").json(&second).header("Idempotency-Key", &self.key)
        };
        let second = self.through_death(request).await.job();
        self.ends(&first, Status::Finished).await;
        self.ends(&second, Status::Finished).await;
        assert_eq!(self.app.job(&second).await.attempt, 1, "{}", self.gap);
    }

    async fn cancel(&self) {
        let job = self.app.create(&NewJob::sleep(600.0).timeout_s(900)).await;
        self.app.running(&job).await;
        self.arm().await;
        let path = format!("/v1/jobs/{}/cancel", job.id);
        self.through_death(|| self.app.request(Method::POST, &path)).await;
        self.ends(&job, Status::Cancelled).await;
    }

    async fn expires(&self) {
        self.arm().await;
        let job = NewJob::noop().queue("nobody").with("start_within_s", 1);
        let request =
            || self.app.request(Method::POST, "/v1/jobs").json(&job).header("Idempotency-Key", &self.key);
        let created = self.through_death(request).await.job();
        self.ends(&created, Status::Cancelled).await;
    }

    async fn change(&self) {
        let job = self.app.create(&NewJob::noop().with("delay_s", 86_400)).await;
        self.arm().await;
        let (path, patch) =
            (format!("/v1/jobs/{}", job.id), serde_json::json!({ "delay_s": 0, "priority": "low" }));
        // Sent again, it may find the job on its way.
        let answer = self.through_death(|| self.app.request(Method::PATCH, &path).json(&patch)).await;
        assert!([200, 409].contains(&answer.status), "{}: {answer:?}", self.gap);
        self.ends(&job, Status::Finished).await;
        assert_eq!(self.app.job(&job).await.priority, "low", "{}", self.gap);
    }

    async fn cancel_scheduled(&self) {
        let job = self.app.create(&NewJob::noop().with("delay_s", 86_400)).await;
        self.arm().await;
        let path = format!("/v1/jobs/{}/cancel", job.id);
        self.through_death(|| self.app.request(Method::POST, &path)).await;
        self.ends(&job, Status::Cancelled).await;
    }

    async fn retry(&self) {
        let job = self.app.create(&NewJob::noop()).await;
        self.ends(&job, Status::Finished).await;
        self.arm().await;
        let path = format!("/v1/jobs/{}/retry", job.id);
        self.through_death(|| self.app.request(Method::POST, &path)).await;
        let second = || async {
            let job = self.app.job(&job).await;
            if job.run >= 2 && job.status == Status::Finished { Ok(()) } else { Err(format!("{job:?}")) }
        };
        poll::until("the second run to finish", PATIENCE, second).await.expect(self.gap);
        let attempts = self.app.get(&format!("/v1/jobs/{}/attempts", job.id)).await.expect(200).json();
        let runs: Vec<_> =
            attempts["attempts"].as_array().expect("a list").iter().map(|one| one["run"].clone()).collect();
        assert!(runs.starts_with(&[1.into(), 2.into()]), "{}: {attempts}", self.gap);
    }

    async fn delete(&self) {
        let job = self.app.create(&NewJob::noop()).await;
        self.ends(&job, Status::Finished).await;
        self.arm().await;
        let path = format!("/v1/jobs/{}", job.id);
        self.through_death(|| self.app.request(Method::DELETE, &path)).await;
        assert_eq!(self.app.get(&path).await.status, 404, "{}", self.gap);
    }

    /// It is due once, and has one job, whose firing is at its end.
    async fn schedule(&self) {
        self.arm().await;
        let path = format!("/v1/schedules/gap-{}", self.key);
        let soon = time::OffsetDateTime::now_utc() + Duration::from_millis(1500);
        let at = soon.format(&time::format_description::well_known::Rfc3339).expect("a time");
        let schedule = serde_json::json!({ "at": at, "template": NewJob::noop() });
        let request = || self.app.request(Method::PUT, &path).header("If-None-Match", "*").json(&schedule);
        self.through_death(request).await.expect(201);
        let fired = || async {
            let firings = self.app.get(&format!("{path}/firings")).await.expect(200).json();
            let all = firings["firings"].as_array().cloned().unwrap_or_default();
            match all.as_slice() {
                [one] if one["status"] == "fired" => Ok(one["job_id"].clone()),
                _ => Err(firings.to_string()),
            }
        };
        let job = poll::until("the schedule to have fired", PATIENCE, fired).await.expect(self.gap);
        let listed = self.app.get(&format!("/v1/jobs?schedule=gap-{}", self.key)).await.expect(200).json();
        let jobs = listed["jobs"].as_array().expect("a list");
        assert_eq!((jobs.len(), &jobs[0]["id"]), (1, &job), "{}", self.gap);
        let job = self.app.get(&format!("/v1/jobs/{}", job.as_str().expect("an id"))).await.expect(200).job();
        self.ends(&job, Status::Finished).await;
    }

    /// The process of this gap.
    fn doomed(&self) -> &Node {
        if self.gap.starts_with("api.") { self.app.stack().api(0) } else { self.app.stack().worker(0) }
    }

    /// Starts the process again so that it dies in the gap.
    async fn arm(&self) {
        let node = self.doomed();
        node.kill().await.expect("it can be killed");
        node.set_env("FAILPOINTS", &format!("{}=1*return", self.gap));
        node.launch().expect("it can be started");
        // It may die of work that was left over before it is ready.
        let up = || async { !node.is_running() || self.app.ready().await.status == 200 };
        poll::until("the doomed process", PATIENCE, up).await.expect(self.gap);
    }

    /// Sends the request, waits for the death, starts the process again, and sends the request until
    /// it is answered.
    async fn through_death(&self, request: impl Fn() -> RequestBuilder) -> Answer {
        let node = self.doomed();
        let asked = self.app.try_send(request()).await;
        poll::until("the process to die", PATIENCE, || async { !node.is_running() }).await.expect(self.gap);
        node.set_env("FAILPOINTS", "");
        node.start().await.expect(self.gap);
        match asked {
            Ok(answer) if answer.status < 500 => answer,
            _ => {
                let answered = || async {
                    let answer = self.app.try_send(request()).await.map_err(|error| error.to_string())?;
                    if answer.status < 500 { Ok(answer) } else { Err(format!("{answer:?}")) }
                };
                poll::until("an answer", PATIENCE, answered).await.expect(self.gap)
            }
        }
    }

    async fn ends(&self, job: &JobView, status: Status) {
        let job = self.app.ended_within(job, PATIENCE).await;
        assert_eq!(job.status, status, "{}: {job:?}", self.gap);
    }
}

#[test]
fn the_gaps_in_the_code_in_the_docs_and_in_this_test_are_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let in_code: BTreeSet<String> = ["api-service/src", "job-service/src"]
        .into_iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .flat_map(|file| {
            between(&std::fs::read_to_string(file).expect("a source file"), "failpoint(\"", "\")")
        })
        .collect();
    let docs = std::fs::read_to_string(root.join("docs/failures.md")).expect("the failures");
    let is_gap = |name: &&str| {
        (name.starts_with("api.") || name.starts_with("job.")) && name.matches('.').count() == 2
    };
    let in_docs: BTreeSet<String> = docs.split('`').filter(is_gap).map(str::to_owned).collect();
    let in_test: BTreeSet<String> = GAPS.iter().map(|(gap, _)| (*gap).to_owned()).collect();
    assert_eq!(in_code, in_test);
    assert_eq!(in_docs, in_test);
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

fn between(text: &str, start: &str, end: &str) -> Vec<String> {
    let parts = text.split(start).skip(1).filter_map(|part| part.split_once(end));
    parts.map(|(name, _)| name.to_owned()).collect()
}
