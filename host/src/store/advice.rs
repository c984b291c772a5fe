//! What a store's error means to a person. Stores give most mistakes in how they are reached the same kind of error, and tell
//! them apart by code words only.

use object_store::Error;

/// Words of an error, what they mean, and what to do.
const KNOWN: &[(&[&str], &str, &str)] = &[
    (
        &["NoSuchBucket"],
        "there is no such bucket (NoSuchBucket)",
        "check the bucket's name, its region and its endpoint",
    ),
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
    (
        &["AccessDenied", "403 Forbidden"],
        "access is denied",
        "check that these keys may get, put, delete and list there",
    ),
    (
        &["Connection refused", "dns error", "error sending request"],
        "the store cannot be reached",
        "check `endpoint` and the network; nothing is lost",
    ),
];

/// What was wrong, in a few words if they are known.
pub fn told(error: &Error) -> String {
    known(error).map_or_else(|| error.to_string(), |(what, _)| what.into())
}

/// What to do, if that is known; else `otherwise`.
pub fn advice(error: &Error, otherwise: &'static str) -> &'static str {
    known(error).map_or(otherwise, |(_, hint)| hint)
}

fn known(error: &Error) -> Option<(&'static str, &'static str)> {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    // A local folder has its own words.
    let is_remote = text.contains("://") || text.contains("S3");
    let is_said = |(words, ..): &&(&[&str], &str, &str)| words.iter().any(|word| text.contains(word));
    KNOWN.iter().find(is_said).filter(|_| is_remote).map(|(_, what, hint)| (*what, *hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_how_a_store_is_reached_are_told_apart() {
        let of = |text: &str| Error::Generic { store: "S3", source: text.to_string().into() };
        assert!(told(&of("GET https://s3/b: 404 <Code>NoSuchBucket</Code>")).starts_with("there is no such bucket"));
        assert!(
            told(&of("PUT http://169.254.169.254/latest/api/token: 403 Forbidden")).starts_with("no keys were found")
        );
        assert!(advice(&of("GET https://s3/b: <Code>InvalidAccessKeyId</Code>"), "wait").starts_with("check AWS"));
        assert_eq!(advice(&of("GET https://s3/b: 503 SlowDown"), "wait"), "wait");
        let local = Error::Generic { store: "LocalFileSystem", source: "AccessDenied is a file".into() };
        assert_eq!(told(&local), local.to_string());
    }
}
