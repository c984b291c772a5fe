//! The task that keeps the heartbeat going, and hears requests to stop.

use super::Control;
use crate::commit::{Heartbeat, Writer};

/// A task that keeps the heartbeat going, and hears requests to stop.
pub(super) struct Beating {
    task: tokio::task::JoinHandle<()>,
    end: tokio::sync::oneshot::Sender<()>,
}

impl Beating {
    /// Starts it on the runtime of the caller.
    pub(super) fn start(heartbeat: Heartbeat, writer: Writer, control: &Control) -> Beating {
        let (end, ended) = tokio::sync::oneshot::channel();
        let task = tokio::runtime::Handle::current().spawn(beat(heartbeat, writer, control.clone(), ended));
        Beating { task, end }
    }

    /// Waits until the signs of life are gone.
    pub(super) async fn end(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
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
