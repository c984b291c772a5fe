//! An S3 server for tests: buckets in memory, create-only puts that are atomic, uploads in parts that can be listed. It
//! counts requests, and is slow, failing or forgetful when a test asks for it. Signatures are checked; any key id is
//! accepted with the one secret.
//!
//! * `objects` - what is in the buckets, and the operations on it.
//! * `requests` - which operation a request is; the counts.
//! * `faults` - what goes wrong, when.
//! * `serve` - the socket, and the control path for tests in other processes.

mod faults;
mod objects;
mod requests;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
pub use faults::{Fault, What};
use objects::Objects;
pub use requests::{Op, Request};
use serve::Shared;

/// A key id; any other does as well.
pub const KEY_ID: &str = "AKIATESTTESTTESTTEST";
/// The one secret that signs.
pub const SECRET: &str = "not/a+secret/only/for/tests/0123456789ab";

/// A running server. It ends with this value.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Starts on a free port of this machine, with these buckets, which are empty.
    pub fn start(buckets: &[&str]) -> Server {
        Server::start_at(0, buckets).expect("a free port")
    }

    /// Starts on a port; 0 is a free one.
    pub fn start_at(port: u16, buckets: &[&str]) -> std::io::Result<Server> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(Objects::new(buckets)));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("s3".into());
        let thread = thread.spawn(move || serve::serve(listener, &serving, stopped))?;
        Ok(Server { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:<port>`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the server ends, which only a signal makes it do.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }

    /// Adds a fault; faults are asked in the order in which they were added.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// From now on every fault is forgotten, and nothing is slow.
    pub fn heal(&self) {
        self.shared.faults.clear();
        self.shared.objects.ignore_create_only.store(false, Ordering::SeqCst);
    }

    /// A store that does not know the condition: creating overwrites.
    pub fn ignore_create_only(&self) {
        self.shared.objects.ignore_create_only.store(true, Ordering::SeqCst);
    }

    /// How many keys, or uploads, a page of a listing has at most.
    pub fn page(&self, keys: usize) {
        self.shared.objects.page.store(keys, Ordering::SeqCst);
    }

    /// All requests so far, or since `forget`, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.all()
    }

    /// How many requests did `op` to a name, `bucket/key`, that begins with `prefix`.
    pub fn count(&self, op: Op, prefix: &str) -> usize {
        self.requests().iter().filter(|request| request.op == op && request.name.starts_with(prefix)).count()
    }

    /// Bytes that were given out of the object `name`, `bucket/key`, since this was asked the last time.
    pub fn take_bytes_given(&self, name: &str) -> u64 {
        self.shared.objects.take_given(name)
    }

    /// Starts counting anew.
    pub fn forget(&self) {
        self.shared.requests.clear();
    }

    /// The names, `bucket/key`, that begin with `prefix`, and their bytes.
    pub fn objects(&self, prefix: &str) -> Vec<(String, Bytes)> {
        self.shared.objects.all(prefix)
    }

    /// Puts an object without a request.
    pub fn put(&self, name: &str, bytes: impl Into<Bytes>) {
        self.shared.objects.put(name, bytes.into());
    }

    /// Removes an object without a request.
    pub fn remove(&self, name: &str) {
        self.shared.objects.remove(name);
    }

    /// Begins an upload in parts without a request, as somebody else might.
    pub fn begin_upload(&self, name: &str) {
        self.shared.objects.begin_upload(name);
    }

    /// The names, `bucket/key`, of uploads that are neither complete nor given up.
    pub fn uploads(&self) -> Vec<String> {
        self.shared.objects.uploads()
    }

    /// Waits until no request is under way, and none has come for a moment: what a run that died has sent, has arrived.
    pub fn settle(&self) {
        const QUIET: Duration = Duration::from_millis(20);
        let until = Instant::now() + Duration::from_secs(10);
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
            if self.shared.requests.under_way() > 0 {
                quiet_since = Instant::now();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
