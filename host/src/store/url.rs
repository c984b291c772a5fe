//! Where a root or a source lies, from what a person wrote. No request is sent, nothing is opened.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};

use object_store::path::Path;

use crate::message::Message;

/// The longest name that a bucket may have, and the shortest.
const BUCKET_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// A place that a person named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// An absolute path of this machine.
    Local(PathBuf),
    /// `s3://bucket/key`.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What stands behind the bucket, without the slash before it: a prefix, an object, or a glob.
        key: String,
    },
}

impl Location {
    /// Reads a path, `file:///path` or `s3://bucket/key`. A relative path starts at `folder`.
    pub fn parse(written: &str, folder: &FsPath) -> Result<Location, Message> {
        match written.split_once("://") {
            None => Ok(Location::Local(folder.join(written))),
            Some(("file", path)) if path.starts_with('/') => Ok(Location::Local(path.into())),
            Some(("file", _)) => {
                Err(Message::new("a file URL has an absolute path").hint("write file:/// and the path"))
            }
            Some(("s3", rest)) => s3(rest),
            Some((scheme, _)) => Err(unknown(scheme)),
        }
    }

    /// The path, if it is on this machine.
    pub fn local(&self) -> Option<&FsPath> {
        match self {
            Location::Local(path) => Some(path),
            Location::S3 { .. } => None,
        }
    }

    /// The same place with another path or key.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Location {
        match self {
            Location::Local(_) => Location::Local(path.into()),
            Location::S3 { bucket, .. } => Location::S3 { bucket: bucket.clone(), key: path.into() },
        }
    }

    /// The path or the key as text. None if a path is not UTF-8.
    pub fn path(&self) -> Option<&str> {
        match self {
            Location::Local(path) => path.to_str(),
            Location::S3 { key, .. } => Some(key),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(path) => path.display().fmt(f),
            Location::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

fn s3(rest: &str) -> Result<Location, Message> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    // What stands there is not repeated: it may be a password.
    if bucket.contains(['@', ':']) {
        let message = Message::new("an s3:// URL holds a bucket and a key, nothing else");
        return Err(message.hint("credentials come from the environment or a profile, an endpoint from `store`"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !BUCKET_BYTES.contains(&bucket.len()) || !bucket.chars().all(is_name) {
        let hint = "write s3://bucket/prefix; a bucket has 3 to 63 letters, digits, dots, hyphens and underscores";
        return Err(Message::new("the name behind s3:// is no bucket").hint(hint));
    }
    prefix(key)?;
    Ok(Location::S3 { bucket: bucket.into(), key: key.into() })
}

/// A key as the prefix of a root.
pub(super) fn prefix(key: &str) -> Result<Path, Message> {
    let trimmed = key.strip_suffix('/').unwrap_or(key);
    Path::parse(trimmed).map_err(|_| {
        Message::new("the path behind the bucket has an empty part, or `.` or `..` as one")
            .hint("S3 has no folders: the path is a part of the names, and is written as they are")
    })
}

fn unknown(scheme: &str) -> Message {
    let hint = match scheme {
        "s3a" | "s3n" => "write s3://",
        _ => "use s3://bucket/prefix, a path of this machine, or file:///",
    };
    let scheme: String = scheme.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    Message::new(format!("{scheme}:// is not supported")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &str) -> Result<Location, Message> {
        Location::parse(written, FsPath::new("/jobs"))
    }

    #[test]
    fn paths_and_urls_become_places() {
        let bucket = |key: &str| Location::S3 { bucket: "data.sets".into(), key: key.into() };
        assert_eq!(parse("in/*.parquet"), Ok(Location::Local("/jobs/in/*.parquet".into())));
        assert_eq!(parse("/in"), Ok(Location::Local("/in".into())));
        assert_eq!(parse("file:///in"), Ok(Location::Local("/in".into())));
        assert_eq!(parse("s3://data.sets"), Ok(bucket("")));
        assert_eq!(parse("s3://data.sets/a/b%20c/"), Ok(bucket("a/b%20c/")));
        assert_eq!(parse("s3://data.sets/a/part-?.parquet"), Ok(bucket("a/part-?.parquet")));
        assert_eq!(parse("s3://data.sets/a/").unwrap().to_string(), "s3://data.sets/a/");
    }

    #[test]
    fn what_is_no_place_is_refused_and_not_repeated() {
        for (written, said) in [
            ("gs://bucket/a", "gs:// is not supported"),
            ("s3a://bucket/a", "write s3://"),
            ("file://host/a", "absolute path"),
            ("s3://key:hidden@bucket/a", "a bucket and a key"),
            ("s3:///a", "no bucket"),
            ("s3://b*/a", "no bucket"),
            ("s3://bucket/a//b", "empty part"),
            ("s3://bucket/../b", "`..`"),
        ] {
            let message = parse(written).unwrap_err();
            assert!(message.hint.is_some(), "{written}: {message}");
            let message = message.line();
            assert!(message.contains(said), "{written}: {message}");
            assert!(!message.contains("hidden"), "{message}");
        }
    }
}
