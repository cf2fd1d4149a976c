//! Of NATS: whether it answers, its version and limits, the user's rights, and the streams and consumers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, jetstream};
use shared_events::{
    MAX_EVENT_BYTES,
    rights::Rights,
    streams::{ConsumerDefinition, StreamDefinition},
};
use tokio::time::{Instant, timeout};

use super::{Findings, bytes, is_at_least, rights::UserInfo};
use crate::{
    nats::{Nats, NatsSettings, streams},
    telemetry::chain,
};

/// The oldest version that has all that is used.
const OLDEST: (u32, u32) = (2, 10);

/// How long each answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How full a stream may be, of a hundred parts, before it is told.
const FULL: u64 = 80;

/// Where a server says who is connected, and what that one may do.
const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// What a service expects of NATS.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The service's name, which its inboxes begin with.
    pub service: &'static str,
    /// All streams.
    pub streams: Vec<StreamDefinition>,
    /// The service's consumers.
    pub consumers: Vec<ConsumerDefinition>,
    /// What it does.
    pub rights: Rights,
}

/// Checks the server that these settings name.
pub async fn check_nats(settings: &NatsSettings, expected: &Expected) -> Findings {
    let mut findings = Findings::default();
    let begun = Instant::now();
    let refusals = Arc::<Mutex<Vec<String>>>::default();
    let refused = Arc::clone(&refusals);
    let note = move |refusal| refused.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
    let client = match timeout(DEADLINE, Nats::connect_once(settings, expected.service, note)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            findings.error("NATS", format!("could not connect: {}", chain(&error)));
            return findings;
        }
        Err(_) => {
            findings.error("NATS", format!("does not answer within {} s", DEADLINE.as_secs()));
            return findings;
        }
    };
    findings.ok("NATS", format!("connected within {} ms", begun.elapsed().as_millis().max(1)));
    about_server(&client, &mut findings);
    if !about_rights(&client, expected, &mut findings).await {
        // Without answers nothing else can be asked.
        let refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner).join("; ");
        let why = if refusals.is_empty() { "the server has no answer" } else { &refusals };
        findings.error("NATS rights", format!("could not be asked for: {why}"));
        return findings;
    }
    let jetstream = jetstream::new(client.clone());
    for definition in &expected.streams {
        about_stream(&jetstream, definition, &mut findings).await;
    }
    for definition in &expected.consumers {
        about_consumer(&jetstream, definition, &mut findings).await;
    }
    findings
}

fn about_server(client: &Client, findings: &mut Findings) {
    let server = client.server_info();
    if is_at_least(&server.version, OLDEST) {
        findings.ok("NATS version", &server.version);
    } else {
        let (major, minor) = OLDEST;
        findings.error("NATS version", format!("{}; {major}.{minor} or later is needed", server.version));
    }
    let (most, wanted) = (server.max_payload, MAX_EVENT_BYTES);
    if most < wanted {
        findings.error("NATS max_payload", format!("{most} bytes; events may have {wanted}"));
    }
}

/// Whether there was an answer.
async fn about_rights(client: &Client, expected: &Expected, findings: &mut Findings) -> bool {
    let answer = timeout(DEADLINE, client.request(USER_INFO, "".into())).await;
    let info = match answer {
        Ok(Ok(answer)) => serde_json::from_slice::<UserInfo>(&answer.payload).ok(),
        _ => None,
    };
    let Some(UserInfo { data: user }) = info else { return false };
    let (publish, subscribe) = user.lacks(expected.rights);
    if publish.is_empty() && subscribe.is_empty() {
        findings.ok("NATS rights", format!("{} may do all that the service does", user.user));
    }
    if !publish.is_empty() {
        findings.error("NATS rights", format!("{} may not publish to {}", user.user, publish.join(", ")));
    }
    if !subscribe.is_empty() {
        findings.error("NATS rights", format!("{} may not subscribe to {}", user.user, subscribe.join(", ")));
    }
    true
}

async fn about_stream(
    jetstream: &jetstream::Context,
    definition: &StreamDefinition,
    findings: &mut Findings,
) {
    let what = format!("stream {}", definition.name);
    let stream = match timeout(DEADLINE, jetstream.get_stream(definition.name)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if streams::is_missing(&error.kind()) => {
            return findings.warning(what, "is not there; whichever service starts first makes it");
        }
        Ok(Err(error)) => return findings.error(what, format!("could not be looked up: {}", chain(&error))),
        Err(_) => return findings.error(what, "no answer: is JetStream on?"),
    };
    let (found, state) = (&stream.cached_info().config, &stream.cached_info().state);
    let differences = streams::differences(found, &streams::stream_config(definition));
    if !differences.is_empty() {
        findings.warning(&what, format!("differs from the settings: {}", differences.join("; ")));
    }
    let most = u64::try_from(found.max_bytes).unwrap_or(0);
    let used = (state.bytes * 100).checked_div(most).unwrap_or(0);
    let holds = format!("{} messages, {} of {} ({used} %)", state.messages, bytes(state.bytes), bytes(most));
    match (used >= FULL, differences.is_empty()) {
        (true, _) => findings.warning(what, holds),
        (false, true) => findings.ok(what, holds),
        (false, false) => {}
    }
}

async fn about_consumer(
    jetstream: &jetstream::Context,
    definition: &ConsumerDefinition,
    findings: &mut Findings,
) {
    let what = format!("consumer {}", definition.name);
    // Where its stream is missing, that is told.
    let Ok(Ok(stream)) = timeout(DEADLINE, jetstream.get_stream_no_info(definition.stream)).await else {
        return;
    };
    let found = match timeout(DEADLINE, stream.consumer_info(&definition.name)).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => return findings.warning(what, "is not there; the service makes it when it starts"),
        Err(_) => return findings.error(what, "no answer"),
    };
    let differences = streams::consumer_differences(&found.config, definition);
    let waits = format!("{} wait, {} are unacked", found.num_pending, found.num_ack_pending);
    if differences.is_empty() {
        findings.ok(what, waits);
    } else {
        findings.warning(what, format!("differs from this version's: {}", differences.join("; ")));
    }
}
