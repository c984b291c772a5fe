//! What goes on beside the work: the heartbeat, requests to stop, and a look at whether the job was moved away.

use std::time::Duration;

use tokio::runtime::Handle;

use super::Control;
use crate::commit::{Claimant, Heartbeat, Writer, gone_on_since};
use crate::store::Store;

/// Heartbeats between two looks at the claims in the sink, which may be slow.
const BEATS_OF_A_LOOK: u32 = 6;

/// Tasks that run beside the work.
pub(super) struct Beating {
    heart: tokio::task::JoinHandle<()>,
    end: tokio::sync::oneshot::Sender<()>,
    claims: tokio::task::JoinHandle<()>,
}

/// The sink, who has claimed it, and by which number.
pub(super) struct SinkClaim {
    pub(super) sink: Store,
    pub(super) claimant: Claimant,
    pub(super) number: u64,
}

impl Beating {
    /// Starts them on the runtime of the caller.
    pub(super) fn start(heartbeat: Heartbeat, writer: Writer, control: &Control, claim: SinkClaim) -> Beating {
        let (end, ended) = tokio::sync::oneshot::channel();
        // Apart, since a heartbeat that waits for the sink would let this run look dead.
        let claims = Handle::current().spawn(claim.watch(heartbeat.period() * BEATS_OF_A_LOOK, control.clone()));
        let heart = Handle::current().spawn(beat(heartbeat, writer, control.clone(), ended));
        Beating { heart, end, claims }
    }

    /// Waits until the signs of life are gone.
    pub(super) async fn end(self) {
        self.claims.abort();
        let _ = self.end.send(());
        let _ = self.heart.await;
    }
}

impl SinkClaim {
    /// Beside a copy that its job was moved to, a run does what the copy does, too. At its end it would find that out.
    async fn watch(mut self, period: Duration, control: Control) {
        loop {
            tokio::time::sleep(period).await;
            // A store that fails here will fail where it matters.
            let Ok((elsewhere, next)) = gone_on_since(&self.sink, &self.claimant, self.number).await else { continue };
            self.number = next;
            if let Some(elsewhere) = elsewhere {
                tracing::warn!("this run stops: its job was moved while it was at work, and {elsewhere}");
                control.stop();
                return;
            }
        }
    }
}

async fn beat(
    mut heartbeat: Heartbeat,
    writer: Writer,
    control: Control,
    mut ended: tokio::sync::oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::time::sleep(heartbeat.period()) => {}
        }
        // A heartbeat is courtesy: a store that fails here will fail where it matters.
        let _ = heartbeat.beat(&writer).await;
        if let Ok(true) = heartbeat.is_asked_to_stop().await {
            control.stop();
        }
    }
    let _ = heartbeat.end().await;
}
