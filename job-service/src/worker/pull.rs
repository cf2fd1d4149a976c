//! Pulls: one that takes what is there, and one that waits with the server for what comes.

use std::time::Duration;

use anyhow::Context;
use async_nats::{
    StatusCode, Subject, Subscriber,
    jetstream::{
        Message,
        consumer::{PullConsumer, pull::BatchConfig},
    },
};
use futures::StreamExt;

/// The most bytes of one pull of either sort. No message is larger.
const MOST_BYTES: usize = 8 << 20;

/// How long a pull that does not wait may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a waiting pull stays at the server.
const WAIT: Duration = Duration::from_secs(30);

/// How much later than that the server may say so.
const LATE: Duration = Duration::from_secs(5);

/// Up to `most` messages that are there, of a few MiB together.
pub(crate) async fn now(consumer: &PullConsumer, most: usize) -> anyhow::Result<Vec<Message>> {
    let mut batch = consumer.fetch().max_messages(most).max_bytes(MOST_BYTES).messages().await?;
    let mut messages = Vec::new();
    loop {
        match tokio::time::timeout(DEADLINE, batch.next()).await {
            Ok(Some(Ok(message))) => messages.push(message),
            // What was delivered before the error still counts.
            Ok(Some(Err(_))) if !messages.is_empty() => return Ok(messages),
            Ok(Some(Err(error))) => anyhow::bail!(error),
            Ok(None) => return Ok(messages),
            Err(_) if !messages.is_empty() => return Ok(messages),
            Err(_) => anyhow::bail!("the server did not answer a pull within {DEADLINE:?}"),
        }
    }
}

/// A pull that waits with the server. While messages come it is asked for again before it is used up,
/// so that many messages share a request.
pub(crate) struct Waiting {
    consumer: PullConsumer,
    inbox: Subject,
    messages: Subscriber,
    most: usize,
    /// How many messages the server may still send for what was asked.
    asked: usize,
}

impl Waiting {
    /// Prepares a pull of at most `most` messages at a time.
    pub(crate) async fn new(
        client: &async_nats::Client,
        consumer: PullConsumer,
        most: usize,
    ) -> anyhow::Result<Self> {
        let inbox = Subject::from(client.new_inbox());
        let messages = client.subscribe(inbox.clone()).await?;
        Ok(Self { consumer, inbox, messages, most: most.max(1), asked: 0 })
    }

    /// Asks the server for more where little is left of what was asked before.
    pub(crate) async fn ask(&mut self) -> anyhow::Result<()> {
        if self.asked > self.most / 2 {
            return Ok(());
        }
        let batch = self.most - self.asked;
        let request =
            BatchConfig { batch, max_bytes: MOST_BYTES, expires: Some(WAIT), ..BatchConfig::default() };
        self.consumer.request_batch(request, self.inbox.clone()).await?;
        self.asked += batch;
        Ok(())
    }

    /// The next message; none where what was asked has come to its end without one.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<async_nats::Message>> {
        let next = match self.asked {
            0 => self.messages.next().await,
            _ => tokio::time::timeout(WAIT + LATE, self.messages.next())
                .await
                .context("the server forgot a waiting pull")?,
        };
        let Some(message) = next else {
            anyhow::bail!("the subscription of a waiting pull has ended");
        };
        match message.status {
            None | Some(StatusCode::OK) => {
                self.asked = self.asked.saturating_sub(1);
                Ok(Some(message))
            }
            Some(StatusCode::TIMEOUT) => {
                self.asked = self.asked.saturating_sub(unused(&message).unwrap_or(self.asked));
                Ok(None)
            }
            // The next message would have been too large for what is left of the pull's bytes.
            Some(StatusCode::REQUEST_TERMINATED) if unused(&message).is_some() => {
                self.asked = self.asked.saturating_sub(unused(&message).unwrap_or_default());
                Ok(None)
            }
            Some(status) => anyhow::bail!("{status}: {}", message.description.as_deref().unwrap_or_default()),
        }
    }

    /// Ends the pull, and answers with what was still on its way here.
    pub(crate) async fn end(mut self) -> Vec<async_nats::Message> {
        if self.messages.drain().await.is_err() {
            return Vec::new();
        }
        let mut left = Vec::new();
        while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), self.messages.next()).await
        {
            if message.status.is_none() {
                left.push(message);
            }
        }
        left
    }
}

/// How many messages of a pull that has ended the server will not send.
fn unused(status: &async_nats::Message) -> Option<usize> {
    status.headers.as_ref()?.get("Nats-Pending-Messages")?.as_str().parse().ok()
}
