//! What a store's error means to a person. Stores give most mistakes in how they are reached the same kind of error, and tell
//! them apart by code words only.

use std::io::ErrorKind;

use object_store::Error;

const DENIED: (&str, &str) = ("access is denied", "check that these keys may get, put, delete and list there");

/// Words of an error, what they mean, and what to do.
const KNOWN: &[(&[&str], &str, &str)] = &[
    (NO_BUCKET, "there is no such bucket (NoSuchBucket)", "check the bucket's name, its region and its endpoint"),
    (
        &["169.254.169.254", "169.254.170."],
        "no keys were found in the environment or a profile, and the machine gives none",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
    ),
    (
        &["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"],
        "the store does not accept the keys",
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, and whether they have expired",
    ),
    (&["AccessDenied", "403 Forbidden"], DENIED.0, DENIED.1),
    (
        &["Connection refused", "dns error", "error sending request"],
        "the store cannot be reached",
        "check `endpoint` and the network; nothing is lost",
    ),
];

/// Words of a bucket that is not there, for which `object_store` has no kind of error.
const NO_BUCKET: &[&str] = &["NoSuchBucket"];

/// Words of an error that passes by itself.
const PASSING: &[&str] = &[
    "408 Request Timeout",
    "429 Too Many Requests",
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Timeout",
    "SlowDown",
    "timed out",
    "operation timed out",
    "connection closed",
    "Connection reset",
];

/// Whether the bucket is not there.
pub fn is_no_bucket(error: &Error) -> bool {
    has(&error.to_string(), NO_BUCKET)
}

/// What was wrong, in a few words if they are known.
pub fn told(error: &Error) -> String {
    known(error).map_or_else(|| error.to_string(), |(what, _)| what.into())
}

/// What to do. `safe` says what the error has not done: "nothing is lost".
pub fn advice(error: &Error, safe: &str) -> String {
    if let Some((_, hint)) = known(error) {
        return hint.into();
    }
    let first = match system(error) {
        Some(ErrorKind::PermissionDenied) => "give this user the right to read and write there, then",
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => "make room there, then",
        Some(ErrorKind::ReadOnlyFilesystem) => "mount it so that it can be written, then",
        Some(_) => "mend what the system names, then",
        None if is_local(error) => "mend what is named, then",
        None if has(&whole(error), PASSING) => {
            return format!("{safe}; run the same command again when the store answers");
        }
        None => "mend what the store names, then",
    };
    format!("{safe}; {first} run the same command again")
}

/// What the operating system said, if it was that.
fn system(error: &Error) -> Option<ErrorKind> {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    causes
        .find_map(|cause| cause.downcast_ref::<std::io::Error>())
        .filter(|_| is_local(error))
        .map(std::io::Error::kind)
}

fn is_local(error: &Error) -> bool {
    let text = whole(error);
    matches!(error, Error::Generic { store: "LocalFileSystem", .. }) || !(text.contains("://") || text.contains("S3"))
}

fn known(error: &Error) -> Option<(&'static str, &'static str)> {
    // A local folder has its own words.
    let text = Some(whole(error)).filter(|_| !is_local(error))?;
    let denied = || {
        let is_denied = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. });
        is_denied.then_some(DENIED)
    };
    KNOWN.iter().find(|(words, ..)| has(&text, words)).map(|(_, what, hint)| (*what, *hint)).or_else(denied)
}

fn has(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

fn whole(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_how_a_store_is_reached_are_told_apart() {
        let of = |text: &str| Error::Generic { store: "S3", source: text.to_string().into() };
        assert!(told(&of("GET https://s3/b: 404 <Code>NoSuchBucket</Code>")).starts_with("there is no such bucket"));
        assert!(is_no_bucket(&of("GET https://s3/b: 404 <Code>NoSuchBucket</Code>")));
        assert!(!is_no_bucket(&of("GET https://s3/b: 404 <Code>NoSuchKey</Code>")));
        assert!(
            told(&of("PUT http://169.254.169.254/latest/api/token: 403 Forbidden")).starts_with("no keys were found")
        );
        assert!(advice(&of("GET https://s3/b: <Code>InvalidAccessKeyId</Code>"), "kept").starts_with("check AWS"));
        let local = Error::Generic { store: "LocalFileSystem", source: "AccessDenied is a file".into() };
        assert_eq!(told(&local), local.to_string());
    }

    #[test]
    fn what_to_do_fits_what_went_wrong() {
        let remote = |text: &str| Error::Generic { store: "S3", source: text.to_string().into() };
        let local = |kind: ErrorKind| {
            let source = std::io::Error::new(kind, "/s3://in/a: it said so");
            Error::Generic { store: "LocalFileSystem", source: source.into() }
        };
        let rows = [
            (remote("GET https://s3/b: 503 SlowDown"), "run the same command again when the store answers"),
            (remote("GET https://s3/b: 400 Bad Request"), "mend what the store names, then run the same command again"),
            (
                local(ErrorKind::PermissionDenied),
                "give this user the right to read and write there, then run the same command again",
            ),
            (local(ErrorKind::StorageFull), "make room there, then run the same command again"),
            (
                local(ErrorKind::ReadOnlyFilesystem),
                "mount it so that it can be written, then run the same command again",
            ),
            (local(ErrorKind::NotADirectory), "mend what the system names, then run the same command again"),
        ];
        for (error, hint) in rows {
            assert_eq!(advice(&error, "nothing is lost"), format!("nothing is lost; {hint}"), "{error}");
        }
        let denied = Error::PermissionDenied { path: "a".into(), source: "S3 said no".into() };
        assert_eq!(advice(&denied, "nothing is lost"), DENIED.1);
    }
}
