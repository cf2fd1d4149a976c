//! What nats-server can do.

use std::time::Instant;

use anyhow::{Context, Result};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{context::ContextBuilder, stream};
use bytes::Bytes;
use futures::StreamExt;

use super::{TIME, at_once};

const STREAM: &str = "BENCH_LIMITS";
const SUBJECT: &str = "bench:limits";
const IN_FLIGHT: usize = 1000;
/// About that of a no-op's event.
const BODY: [u8; 400] = [b'x'; 400];

pub(super) struct Rates {
    pub(super) publish: f64,
    pub(super) pull: f64,
}

/// In a stream of its own, which is deleted in the end.
pub(super) async fn measure(url: &str) -> Result<Rates> {
    let options = async_nats::ConnectOptions::new().client_capacity(8192).subscription_capacity(65_536);
    let client = stack::broker::connect_with(url, options).await?;
    let jetstream =
        ContextBuilder::new().max_ack_inflight(IN_FLIGHT).backpressure_on_inflight(true).build(client);
    let config = stream::Config {
        name: STREAM.into(),
        subjects: vec![SUBJECT.into()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    let stream = jetstream.create_stream(config).await?;

    let (began, mut stored) = (Instant::now(), 0);
    let publishes = futures::stream::repeat(()).map(|()| async {
        let ack = jetstream.publish(SUBJECT, Bytes::from_static(&BODY)).await?;
        anyhow::Ok(ack.await?)
    });
    let mut publishes = publishes.buffer_unordered(IN_FLIGHT);
    while began.elapsed() < TIME {
        publishes.next().await.context("there is always one more")??;
        stored += 1;
    }
    let publish = f64::from(stored) / began.elapsed().as_secs_f64();
    drop(publishes);

    let config =
        pull::Config { durable_name: Some("bench".into()), max_ack_pending: 50_000, ..Default::default() };
    let consumer: PullConsumer = stream.create_consumer(config).await?;
    let pull = at_once(2, || {
        let consumer = consumer.clone();
        async move {
            let (began, mut done) = (Instant::now(), 0);
            while began.elapsed() < TIME {
                let mut batch = consumer.fetch().max_messages(256).messages().await?;
                let before = done;
                while let Some(message) = batch.next().await {
                    let message = message.map_err(anyhow::Error::from_boxed)?;
                    message.ack().await.map_err(anyhow::Error::from_boxed)?;
                    done += 1;
                }
                if done == before {
                    break;
                }
            }
            Ok(done)
        }
    })
    .await?;
    jetstream.delete_stream(STREAM).await?;
    Ok(Rates { publish, pull })
}
