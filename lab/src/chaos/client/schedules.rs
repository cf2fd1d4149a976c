//! The client of schedules: creates them before anything goes wrong, and has some fire by hand.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::StatusCode;
use serde::Deserialize;
use shared_events::{JobId, Timestamp};
use tokio::time::Instant;

use super::raw::{Answer, send};
use super::{Api, PAUSE};
use crate::chaos::record::{ScheduleClient, Trigger};
use crate::chaos::schedules::Schedule;

/// How long after its creation a schedule starts.
const START: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Created {
    uid: String,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct Fired {
    job_id: Option<JobId>,
}

impl Api {
    /// Creates the schedule, due from soon on for so long.
    pub(in crate::chaos) async fn create_schedule(
        &self,
        schedule: Schedule,
        length: Duration,
    ) -> Result<ScheduleClient> {
        let starts_at = Timestamp::now() + START;
        let ends_at = starts_at + length;
        let body = schedule.body(&starts_at.to_string(), &ends_at.to_string());
        let request = self.http.put(self.schedule(&schedule)).header("if-none-match", "*").json(&body);
        let Answer::Clear(StatusCode::CREATED, body) = send(request).await else {
            bail!("the schedule {} was not created", schedule.id());
        };
        let Created { uid, created_at } = serde_json::from_str(&body)?;
        ensure!(created_at < starts_at, "{} took too long to be created", schedule.id());
        let uid = bson::Uuid::parse_str(&uid).context("no uid")?;
        Ok(ScheduleClient { schedule, uid, starts_at, ends_at, triggers: Vec::new(), wrong: Vec::new() })
    }

    /// Has the schedule fire when its client wants it to, each time again and again until there is an answer.
    pub(in crate::chaos) async fn trigger(
        &self,
        mut client: ScheduleClient,
        length: Duration,
    ) -> ScheduleClient {
        let begun = Instant::now();
        for (number, at) in client.schedule.triggers.clone().into_iter().enumerate() {
            tokio::time::sleep_until(begun + length.mul_f64(at)).await;
            let key = format!("by-hand-{number}");
            match self.trigger_once(&client.schedule, &key).await {
                Ok(answered) => client.triggers.push(Trigger { key, answered }),
                Err(wrong) => client.wrong.push(format!("{wrong:#}")),
            }
        }
        client
    }

    /// The job of the answer, if there was one.
    async fn trigger_once(&self, schedule: &Schedule, key: &str) -> Result<Option<JobId>> {
        while !self.is_over() {
            let request = self.http.post(format!("{}/trigger", self.schedule(schedule)));
            match send(request.header("idempotency-key", key)).await {
                Answer::Clear(StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED, body) => {
                    return Ok(serde_json::from_str::<Fired>(&body)?.job_id);
                }
                Answer::Clear(status, body) => bail!("a trigger was answered with {status}: {body}"),
                Answer::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(None)
    }

    fn schedule(&self, schedule: &Schedule) -> String {
        format!("{}/{}", self.schedules, schedule.id())
    }
}
