//! Tells the api-service how far attempts are, at most a few times a second, and what they have logged when it asks.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use service_kit::Broker;
use shared_events::{
    WorkerId,
    live::{LogRequest, LogTail, ProgressReport},
    subjects,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::LiveAttempts;

/// The shortest time from one report to the next.
const PACE: Duration = Duration::from_millis(300);

/// How often all is told again: to replicas that have not heard it.
const AGAIN: Duration = Duration::from_secs(5);

/// How many attempts one report tells of: it stays well below what NATS takes.
const A_REPORT: usize = 200;

/// Tells how far attempts are, until told to stop.
pub async fn progress(live: &LiveAttempts, broker: &Broker, stop: &CancellationToken) {
    let mut again = tokio::time::interval(AGAIN);
    loop {
        let of_all = tokio::select! {
            () = stop.cancelled() => return,
            () = live.0.progress.notified() => false,
            _ = again.tick() => true,
        };
        for report in live.progress(of_all).chunks(A_REPORT) {
            match serde_json::to_vec(&ProgressReport(report.to_vec())) {
                Ok(body) => broker.broadcast(subjects::PROGRESS, Bytes::from(body)).await,
                Err(error) => warn!(%error, "progress has no JSON"),
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Replies to those who ask for this worker's logs, until told to stop.
pub async fn logs(live: &LiveAttempts, worker: &WorkerId, broker: &Broker, stop: &CancellationToken) {
    let client = broker.nats().client();
    let mut requests = match client.subscribe(subjects::LOGS).await {
        Ok(requests) => requests,
        Err(error) => return warn!(%error, "could not subscribe to requests for logs; none will be shown"),
    };
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            message = requests.next() => message,
        };
        let Some(message) = message else { return };
        let Some(reply) = message.reply else { continue };
        match serde_json::from_slice::<LogRequest>(&message.payload) {
            Ok(request) if request.worker == *worker => {
                let most = usize::try_from(request.tail).unwrap_or(usize::MAX);
                let lines = live.tail(request.job.run(request.run), request.attempt, most);
                let Ok(body) = serde_json::to_vec(&LogTail { lines }) else { continue };
                if let Err(error) = client.publish(reply, body.into()).await {
                    debug!(%error, "a request for a log was not replied to");
                }
            }
            Ok(_) => {}
            Err(error) => debug!(%error, "a request for a log is not readable"),
        }
    }
}
