//! From messages to events: a message may hold several, and some that this version can not read.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::Message;
use bson::{Bson, spec::BinarySubtype};
use shared_events::{DecodeError, Timestamp, batch};
use tracing::info;

use crate::{
    Clock,
    dead_letters::{DeadLetter, Decision, Delivery, GivenBack, Reason},
};

/// Reads the messages of one stream.
#[derive(Debug)]
pub struct MessageReader {
    stream: &'static str,
    clock: Clock,
    given_back: GivenBack,
}

/// The events of some messages, and what is to be done about those that can not be read.
#[derive(Debug)]
pub struct Sorted<T> {
    /// The events that can be read, in the order of the stream.
    pub events: Vec<T>,
    /// Where each event is from.
    pub origins: Vec<Origin>,
    /// What is to be kept before the messages are acked.
    pub dead_letters: Vec<DeadLetter>,
    /// The places of the messages that come again, and after which time.
    pub given_back: Vec<(usize, Duration)>,
}

/// Where an event is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The place of its message.
    pub message: usize,
    /// Its place in the message.
    pub member: usize,
}

impl MessageReader {
    /// Gives back for `wait` what a newer version may have written.
    #[must_use]
    pub fn new(stream: &'static str, clock: Clock, wait: Duration) -> Self {
        Self { stream, clock, given_back: GivenBack::new(wait) }
    }

    /// Reads the messages; `decode` reads one event.
    pub fn sort<T>(
        &self,
        messages: &[Message],
        decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Sorted<T> {
        let mut sorted = Sorted {
            events: Vec::with_capacity(messages.len()),
            origins: Vec::with_capacity(messages.len()),
            dead_letters: Vec::new(),
            given_back: Vec::new(),
        };
        for (place, message) in messages.iter().enumerate() {
            let members = match batch::events(&message.payload) {
                Ok(members) => members,
                Err(error) => {
                    self.dead_letter(&mut sorted, message, None, &error);
                    continue;
                }
            };
            let mut newer = Vec::new();
            for (member, body) in members.iter().enumerate() {
                match decode(body) {
                    Ok(event) => {
                        sorted.events.push(event);
                        sorted.origins.push(Origin { message: place, member });
                    }
                    Err(error) if error.may_be_newer() => newer.push((member, error)),
                    Err(error) => self.dead_letter(&mut sorted, message, Some(member), &error),
                }
            }
            let Some((_, first)) = newer.first() else { continue };
            match self.decide(message, first) {
                Decision::GiveBack(pause) => sorted.given_back.push((place, pause)),
                Decision::DeadLetter => {
                    for (member, error) in newer {
                        self.dead_letter(&mut sorted, message, Some(member), &error);
                    }
                }
            }
        }
        sorted
    }

    /// What to do about a message of which something can not be done here, but by a newer version.
    #[must_use]
    pub fn decide(&self, message: &Message, why: &impl std::fmt::Display) -> Decision {
        let delivery = Delivery::of(message, Timestamp::from_millis(self.clock.now_ms()));
        let decision = self.given_back.decide(true, delivery);
        if delivery.count == 1 && decision != Decision::DeadLetter {
            info!(subject = %message.subject, %why, "message of a newer version given back for a while");
        }
        decision
    }

    /// The dead letter of one event of a message, or of the whole message.
    #[must_use]
    pub fn letter(
        &self,
        message: &Message,
        member: Option<usize>,
        reason: Reason,
        why: &impl std::fmt::Display,
    ) -> DeadLetter {
        let events = batch::events(&message.payload).unwrap_or_default();
        let body = member.and_then(|member| events.get(member).copied()).unwrap_or(&message.payload);
        let member = member.map_or_else(|| "all".to_owned(), |member| member.to_string());
        let (sequence, published) = match message.info() {
            Ok(info) => (info.stream_sequence, info.published.unix_timestamp_nanos()),
            Err(_) => (0, i128::from(self.clock.now_ms())),
        };
        let headers = message.headers.iter().flat_map(async_nats::HeaderMap::iter);
        let headers: BTreeMap<String, String> = headers
            .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
            .collect();
        DeadLetter {
            id: Bson::String(format!("{}.{sequence}.{published}.{member}", self.stream)),
            at: self.clock.now(),
            stream: self.stream.to_owned(),
            subject: message.subject.to_string(),
            headers,
            body: bson::Binary { subtype: BinarySubtype::Generic, bytes: body.to_vec() },
            reason,
            error: why.to_string(),
        }
    }

    fn dead_letter<T>(
        &self,
        sorted: &mut Sorted<T>,
        message: &Message,
        member: Option<usize>,
        error: &DecodeError,
    ) {
        let reason = if error.may_be_newer() { Reason::NewerVersion } else { Reason::NotAnEvent };
        sorted.dead_letters.push(self.letter(message, member, reason, error));
    }
}
