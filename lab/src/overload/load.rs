//! Requests that create jobs: as many as are answered, or so many a second whatever is answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use crate::bench::client::{Connection, post};
use crate::bench::latency::{Latencies, Percentiles};

/// How many connections ask for as much as they can get.
const CONNECTIONS: usize = 64;

/// How many requests of so many a second are under way at once at most, each on a connection. When a machine stands still for a
/// second, those that become due meanwhile are sent late, and their time runs from when they were due.
const MOST_CONNECTIONS: usize = 4000;

/// How long a client waits for an answer, from when its request was due.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the requests of some time.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    /// How many were sent, and for how long.
    pub(super) sent: usize,
    pub(super) time: Duration,
    /// How long the 201 took, in milliseconds.
    pub(super) accepted: Percentiles,
    /// How long the 503 took.
    pub(super) refused: Percentiles,
    /// How many 503 had no `Retry-After`.
    pub(super) without_retry_after: usize,
    /// All else, by what it was.
    pub(super) others: BTreeMap<String, usize>,
}

enum Answer {
    Accepted,
    Refused { has_retry_after: bool },
    Other(String),
}

impl Answers {
    fn of(answers: &[(Answer, Duration)], time: Duration) -> Self {
        let took = |which: fn(&Answer) -> bool| {
            let of_these = answers.iter().filter(move |(answer, _)| which(answer));
            Latencies::of(of_these.map(|(_, took)| *took)).percentiles()
        };
        let (accepted, refused) = (
            took(|answer| matches!(answer, Answer::Accepted)),
            took(|answer| matches!(answer, Answer::Refused { .. })),
        );
        let (mut without_retry_after, mut others) = (0, BTreeMap::new());
        for (answer, _) in answers {
            match answer {
                Answer::Accepted | Answer::Refused { has_retry_after: true } => {}
                Answer::Refused { .. } => without_retry_after += 1,
                Answer::Other(what) => *others.entry(what.clone()).or_default() += 1,
            }
        }
        Self { sent: answers.len(), time, accepted, refused, without_retry_after, others }
    }

    pub(super) fn is_all_accepted(&self) -> bool {
        self.accepted.count == self.sent as u64
    }

    /// All of it, for a person.
    pub(super) fn line(&self) -> String {
        let a_second = |count: u64| count as f64 / self.time.as_secs_f64();
        let mut line = format!(
            "{:.0}/s sent; 201: {:.0}/s, p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms; 503: {:.0}/s, p50 {:.0} ms, p99 {:.0} ms",
            a_second(self.sent as u64),
            a_second(self.accepted.count),
            self.accepted.p50,
            self.accepted.p99,
            self.accepted.max,
            a_second(self.refused.count),
            self.refused.p50,
            self.refused.p99,
        );
        if !self.others.is_empty() || self.without_retry_after > 0 {
            line += &format!(
                "; 503 without Retry-After: {}, others: {:?}",
                self.without_retry_after, self.others
            );
        }
        line
    }
}

fn request(address: SocketAddr) -> Arc<[u8]> {
    post(address, "/v1/jobs", &json!({ "kind": "noop" }).to_string()).into()
}

/// How many jobs a second are created where each of some connections sends its next when it has an answer.
pub(super) async fn at_capacity(address: SocketAddr, time: Duration) -> Result<f64> {
    let (request, begun) = (request(address), Instant::now());
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let request = Arc::clone(&request);
        clients.spawn(async move {
            let (mut connection, mut created) = (Connection::open(address).await?, 0_u64);
            while begun.elapsed() < time {
                created += u64::from(connection.send(&request).await?.status == 201);
            }
            anyhow::Ok(created)
        });
    }
    let mut created = 0;
    while let Some(client) = clients.join_next().await {
        created += client??;
    }
    Ok(created as f64 / begun.elapsed().as_secs_f64())
}

/// Sends so many a second for so long, each when it is due; waits for all answers.
pub(super) async fn steadily(address: SocketAddr, rate: f64, time: Duration) -> Result<Answers> {
    let (request, idle) = (request(address), Arc::<Mutex<Vec<Connection>>>::default());
    let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (begun, mut sent) = (Instant::now(), 0_u64);
    let (mut clients, mut answers) = (JoinSet::new(), Vec::new());
    while begun.elapsed() < time {
        ticks.tick().await;
        // Those that became due since, however late this comes.
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        for _ in sent..due {
            let (request, idle, free) = (Arc::clone(&request), Arc::clone(&idle), Arc::clone(&free));
            clients.spawn(async move { one(address, &request, &idle, &free).await });
        }
        sent = due.max(sent);
        while let Some(answer) = clients.try_join_next() {
            answers.push(answer?);
        }
    }
    let took = begun.elapsed();
    while let Some(answer) = clients.join_next().await {
        answers.push(answer?);
    }
    Ok(Answers::of(&answers, took))
}

async fn one(
    address: SocketAddr,
    request: &[u8],
    idle: &Mutex<Vec<Connection>>,
    free: &Semaphore,
) -> (Answer, Duration) {
    let begun = Instant::now();
    let asking = async {
        let _one = free.acquire().await?;
        let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        let answer = connection.send(request).await?;
        let answer = match answer.status {
            201 => Answer::Accepted,
            503 => Answer::Refused { has_retry_after: answer.retry_after_s.is_some() },
            status => Answer::Other(status.to_string()),
        };
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        anyhow::Ok(answer)
    };
    let answer = match timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Other(format!("{error:#}")),
        Err(_) => Answer::Other(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    (answer, begun.elapsed())
}
