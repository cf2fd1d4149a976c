//! Jobs that were announced long ago and have not ended: those whose announcement is gone are announced again; the
//! others wait in their queue, however long.

use tracing::info;

use super::{BATCH, BREATH, Reconciler};
use crate::{jobs::Outbox, outbox::store::Taken};

impl Reconciler {
    pub(super) async fn look_at_silent(&self) -> anyhow::Result<()> {
        loop {
            // Each look puts the next one off.
            let Taken { jobs, more } = self.store.take_silent(BATCH, self.silent_after).await?;
            let (_, gone) = self.still_announced(jobs).await?;
            if !gone.is_empty() {
                let marked = self.store.mark_again(&gone, self.generations.jobs.number()).await?;
                info!(marked, "silent for long; announcing again");
                self.relay.wake();
            }
            if !more {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }
}
