//! Faults of single streams: one is deleted, wiped, set back to an older copy, or full, while the others are intact.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream;
use stack::{Stack, broker, poll};
use tokio::time::{sleep, timeout};

use super::plan::Stream;
use super::store;

/// How long NATS may take for one answer; it may be down.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long it may take until fillers are removed.
const REMOVED_WITHIN: Duration = Duration::from_secs(60);
/// What a stream is filled with: no event, and so large that few do it.
const FILLER: usize = 64 << 10;
/// More than any stream of a chaos run can hold.
const MOST_FILLERS: usize = 1000;

impl Stream {
    /// Where fillers go: to a queue that no job is sent to.
    fn filler(self) -> &'static str {
        match self {
            Self::Jobs => "job:created.filler.low",
            Self::Events => "job:started.filler",
            Self::Control => "job:cancel.filler",
        }
    }
}

/// Deletes the stream; the services make it anew.
pub(super) async fn delete(stack: &Stack, stream: Stream) -> Result<()> {
    let jetstream = connect(stack).await?;
    timeout(TIMEOUT, jetstream.delete_stream(stream.name())).await??;
    Ok(())
}

/// Makes it as in the copy of the whole store, or empty where there is none; NATS must be down.
pub(super) fn set_back(store_folder: &Path, copy: Option<&Path>, stream: Stream) -> Result<()> {
    let folder = folder(store_folder, stream);
    let copied = copy.map(|copy| self::folder(copy, stream)).filter(|copied| copied.is_dir());
    match copied {
        Some(copied) => store::copy(&copied, &folder).context("could not set the stream back"),
        None if folder.exists() => std::fs::remove_dir_all(&folder).context("could not wipe the stream"),
        None => Ok(()),
    }
}

/// Sends fillers until the stream takes no more; those that the services do not read go after `pause`.
pub(super) async fn fill(stack: &Stack, stream: Stream, pause: Duration) -> Result<()> {
    let jetstream = connect(stack).await?;
    for _ in 0..MOST_FILLERS {
        let sent = async { jetstream.publish(stream.filler(), vec![b'x'; FILLER].into()).await?.await };
        if !matches!(timeout(TIMEOUT, sent).await, Ok(Ok(_))) {
            break;
        }
    }
    sleep(pause).await;
    // NATS may be down just then, or the stream away; it would stay full.
    poll::until("fillers to go", REMOVED_WITHIN, || remove_fillers(stack, stream)).await?;
    Ok(())
}

/// Removes what is left of them.
pub(super) async fn remove_fillers(stack: &Stack, stream: Stream) -> Result<()> {
    let stream_there = connect(stack).await?.get_stream(stream.name()).await?;
    timeout(TIMEOUT, stream_there.purge().filter(stream.filler())).await??;
    Ok(())
}

async fn connect(stack: &Stack) -> Result<jetstream::Context> {
    let client = timeout(TIMEOUT, broker::connect(stack.nats().url())).await??;
    Ok(jetstream::new(client))
}

/// As nats-server lays out its store.
fn folder(store_folder: &Path, stream: Stream) -> PathBuf {
    store_folder.join("jetstream/$G/streams").join(stream.name())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_stream_is_set_back_or_wiped_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (now, copy) = (folder.path().join("now"), folder.path().join("copy"));
        for (store, text) in [(&now, "new"), (&copy, "old")] {
            for stream in Stream::ALL {
                fs::create_dir_all(self::folder(store, stream)).unwrap();
                fs::write(self::folder(store, stream).join("1.blk"), text).unwrap();
            }
        }
        let read = |stream| fs::read_to_string(self::folder(&now, stream).join("1.blk")).ok();
        set_back(&now, Some(&copy), Stream::Events).unwrap();
        set_back(&now, None, Stream::Control).unwrap();
        assert_eq!(Stream::ALL.map(read), [Some("new".into()), Some("old".into()), None]);
    }
}
