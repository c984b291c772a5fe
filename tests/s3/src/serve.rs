//! The socket. Every request is counted, meets its fault, and goes to s3s; paths below `/_test/` steer the server, for tests
//! whose program runs in another process:
//!
//! ```text
//! POST /_test/fault?what=refuse&status=503&op=put&prefix=bucket/out&every=3&times=10
//!      what: refuse | drop | lose-answer | lie | delay (with `ms`); op, prefix, every, times may be left out
//! POST /_test/heal            no faults any more
//! POST /_test/forget          counts start anew
//! GET  /_test/counts?prefix=  a line for each operation: name, number
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Result};
use tokio::sync::oneshot::Receiver;

use crate::faults::{Fate, Fault, Faults, What};
use crate::objects::{Objects, Served};
use crate::requests::{Op, Request, Requests, pairs};

/// What connections and tests have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) objects: Objects,
    pub(crate) faults: Faults,
    pub(crate) requests: Requests,
}

impl Shared {
    pub(crate) fn new(objects: Objects) -> Shared {
        Shared { objects, faults: Faults::default(), requests: Requests::default() }
    }
}

/// Any key id with the one secret.
struct OneSecret;

#[async_trait::async_trait]
impl S3Auth for OneSecret {
    async fn get_secret_key(&self, _: &str) -> S3Result<SecretKey> {
        Ok(SecretKey::from(crate::SECRET))
    }
}

/// A request gets no answer: hyper closes the connection.
#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is lost")
    }
}

impl std::error::Error for NoAnswer {}

/// Serves until told to stop.
pub(crate) fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stopped: Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime without threads starts");
    runtime.block_on(async {
        tokio::select! {
            () = accept(listener, shared) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: std::net::TcpListener, shared: &Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is non-blocking");
    let mut builder = S3ServiceBuilder::new(Served(Arc::clone(shared)));
    builder.set_auth(OneSecret);
    let service = builder.build();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        drop(stream.set_nodelay(true));
        let (service, shared) = (service.clone(), Arc::clone(shared));
        let answers = hyper::service::service_fn(move |request| answer(request, service.clone(), Arc::clone(&shared)));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answers);
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    service: S3Service,
    shared: Arc<Shared>,
) -> Result<Response<Body>, NoAnswer> {
    if let Some(command) = request.uri().path().strip_prefix("/_test/") {
        return Ok(steer(command, request.uri().query().unwrap_or_default(), &shared));
    }
    let named = Request::of(&request);
    let signed = format!("{:?}", request.headers());
    shared.requests.begin(named.clone());
    let _under_way = UnderWay(&shared.requests);
    let Fate { delay, what } = shared.faults.fate(&named);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match what {
        Some(What::Refuse(status)) => return Ok(error(status, &signed)),
        Some(What::Drop) => return Err(NoAnswer),
        _ => {}
    }
    let answer = service.call(request.map(Body::from)).await.map_err(|_| NoAnswer)?;
    match what {
        Some(What::LoseAnswer) => Err(NoAnswer),
        Some(What::Lie(status)) => Ok(error(status, &signed)),
        _ => Ok(answer),
    }
}

/// Ends with the answer, or with the connection.
struct UnderWay<'a>(&'a Requests);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Repeats what was signed, as Amazon does when a signature is wrong.
fn error(status: u16, signed: &str) -> Response<Body> {
    let code = match status {
        503 | 429 => "SlowDown",
        _ => "InternalError",
    };
    text(
        status,
        format!(
            "<Error><Code>{code}</Code><Message>A fault of the test</Message><StringToSign>{signed}</StringToSign></Error>"
        ),
    )
}

fn text(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).expect("a test names a status");
    response
}

fn steer(command: &str, query: &str, shared: &Shared) -> Response<Body> {
    let query: Vec<(String, String)> = pairs(query).collect();
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match command {
        "fault" => match fault(&value) {
            Some(fault) => shared.faults.add(fault),
            None => return text(400, "what=, status=, ms=, op=, every= or times= is wrong\n".into()),
        },
        "heal" => shared.faults.clear(),
        "forget" => shared.requests.clear(),
        "counts" => return text(200, counts(&shared.requests.all(), value("prefix").unwrap_or_default())),
        _ => return text(404, "fault, heal, forget or counts\n".into()),
    }
    text(200, "ok\n".into())
}

fn fault<'a>(value: &impl Fn(&str) -> Option<&'a str>) -> Option<Fault> {
    let number = |name: &str, default: u64| value(name).map_or(Some(default), |text| text.parse().ok());
    let status = u16::try_from(number("status", 503)?).ok().filter(|status| (400..600).contains(status))?;
    let what = match value("what")? {
        "refuse" => What::Refuse(status),
        "drop" => What::Drop,
        "lose-answer" => What::LoseAnswer,
        "lie" => What::Lie(status),
        "delay" => What::Delay(Duration::from_millis(number("ms", 0)?)),
        _ => return None,
    };
    let op = match value("op") {
        None => None,
        Some(name) => Some(Op::ALL.iter().find(|(known, _)| *known == name)?.1),
    };
    let (every, times) = (number("every", 1)? as usize, number("times", u64::MAX)? as usize);
    Some(Fault { op, prefix: value("prefix").unwrap_or_default().into(), what, every, times })
}

fn counts(requests: &[Request], prefix: &str) -> String {
    let of = |op: Op| requests.iter().filter(|request| request.op == op && request.name.starts_with(prefix)).count();
    Op::ALL.iter().map(|(name, op)| format!("{name} {}\n", of(*op))).collect()
}
