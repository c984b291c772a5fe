//! What a function logs while something runs in this thread, caught at every level; or thrown away.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::{NoSubscriber, with_default};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The target under which the host logs what functions say.
const GUEST: &str = "guest";

pub(super) fn caught<T>(what: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let value = with_default(tracing_subscriber::registry().with(Catch(Arc::clone(&lines))), what);
    let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
    (value, lines)
}

pub(super) fn silenced<T>(what: impl FnOnce() -> T) -> T {
    with_default(NoSubscriber::new(), what)
}

struct Catch(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Catch {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != GUEST {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        if !message.0.is_empty() {
            let line = format!("{} {}", event.metadata().level().as_str().to_lowercase(), message.0);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
