//! The task that keeps the heartbeat going, hears requests to stop, and finds out when the job was moved away.

use super::Control;
use crate::commit::{Claimant, Heartbeat, Writer, gone_on_to};
use crate::store::Store;

/// The sink, and who has claimed it.
pub(super) struct SinkClaim {
    pub(super) sink: Store,
    pub(super) claimant: Claimant,
}

impl SinkClaim {
    /// What a run does beside a copy that its job was moved to is done twice. That it would find out at its end.
    async fn stop_if_gone_on(&self, control: &Control) {
        let Claimant { job, place, .. } = &self.claimant;
        if let Ok(Some(elsewhere)) = gone_on_to(&self.sink, job, place).await
            && !control.is_stopped()
        {
            tracing::warn!("this run stops: its job was moved while it was at work, and {elsewhere}");
            control.stop();
        }
    }
}

/// A task that does all that.
pub(super) struct Beating {
    task: tokio::task::JoinHandle<()>,
    end: tokio::sync::oneshot::Sender<()>,
}

impl Beating {
    /// Starts it on the runtime of the caller.
    pub(super) fn start(heartbeat: Heartbeat, writer: Writer, control: &Control, claimed: SinkClaim) -> Beating {
        let (end, ended) = tokio::sync::oneshot::channel();
        let task = tokio::runtime::Handle::current().spawn(beat((heartbeat, writer), control.clone(), claimed, ended));
        Beating { task, end }
    }

    /// Waits until the signs of life are gone.
    pub(super) async fn end(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

async fn beat(
    (mut heartbeat, writer): (Heartbeat, Writer),
    control: Control,
    claimed: SinkClaim,
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
        claimed.stop_if_gone_on(&control).await;
    }
    let _ = heartbeat.end().await;
}
