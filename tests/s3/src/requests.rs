//! Which operation a request is, and how many there were of each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use http::Method;

/// An operation of S3, as far as this server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get,
    Head,
    Put,
    Delete,
    DeleteMany,
    List,
    UploadStart,
    UploadPart,
    UploadComplete,
    UploadAbort,
    UploadList,
    Other,
}

impl Op {
    /// All of them, with names for the control path.
    pub const ALL: [(&str, Op); 12] = [
        ("get", Op::Get),
        ("head", Op::Head),
        ("put", Op::Put),
        ("delete", Op::Delete),
        ("delete-many", Op::DeleteMany),
        ("list", Op::List),
        ("upload-start", Op::UploadStart),
        ("upload-part", Op::UploadPart),
        ("upload-complete", Op::UploadComplete),
        ("upload-abort", Op::UploadAbort),
        ("upload-list", Op::UploadList),
        ("other", Op::Other),
    ];
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub op: Op,
    /// `bucket/key`; of a listing, `bucket/prefix`.
    pub name: String,
}

impl Request {
    pub(crate) fn of<B>(request: &http::Request<B>) -> Request {
        let path = decoded(request.uri().path().trim_start_matches('/'));
        let query: Vec<(String, String)> = request.uri().query().into_iter().flat_map(pairs).collect();
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let has_key = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let op = match (request.method(), value("uploadId").is_some(), value("uploads").is_some()) {
            (&Method::GET, _, true) => Op::UploadList,
            (&Method::POST, _, true) => Op::UploadStart,
            (&Method::PUT, true, _) => Op::UploadPart,
            (&Method::POST, true, _) => Op::UploadComplete,
            (&Method::DELETE, true, _) => Op::UploadAbort,
            (&Method::POST, ..) if value("delete").is_some() => Op::DeleteMany,
            (&Method::GET, ..) if !has_key => Op::List,
            (&Method::GET, ..) => Op::Get,
            (&Method::HEAD, ..) if has_key => Op::Head,
            (&Method::PUT, ..) if has_key => Op::Put,
            (&Method::DELETE, ..) if has_key => Op::Delete,
            _ => Op::Other,
        };
        let name = match value("prefix") {
            Some(prefix) if !has_key => format!("{}/{prefix}", path.trim_end_matches('/')),
            _ => path,
        };
        Request { op, name }
    }
}

/// The parts of a query, decoded.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let hex = (*first == b'%').then(|| more.first_chunk::<2>()).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every request, in order.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    seen: Mutex<Vec<Request>>,
    under_way: AtomicUsize,
}

impl Requests {
    pub(crate) fn begin(&self, request: Request) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    pub(crate) fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_apart() {
        let cases = [
            ("GET", "/b/a%20b", Op::Get, "b/a b"),
            ("HEAD", "/b/k", Op::Head, "b/k"),
            ("PUT", "/b/k", Op::Put, "b/k"),
            ("PUT", "/b/k?partNumber=1&uploadId=u", Op::UploadPart, "b/k"),
            ("POST", "/b/k?uploads=", Op::UploadStart, "b/k"),
            ("POST", "/b/k?uploadId=u", Op::UploadComplete, "b/k"),
            ("DELETE", "/b/k?uploadId=u", Op::UploadAbort, "b/k"),
            ("DELETE", "/b/k", Op::Delete, "b/k"),
            ("POST", "/b?delete", Op::DeleteMany, "b"),
            ("GET", "/b?list-type=2&prefix=in%2F", Op::List, "b/in/"),
            ("GET", "/b?prefix=out%2F&uploads=", Op::UploadList, "b/out/"),
        ];
        for (method, uri, op, name) in cases {
            let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
            assert_eq!(Request::of(&request), Request { op, name: name.into() }, "{method} {uri}");
        }
    }
}
