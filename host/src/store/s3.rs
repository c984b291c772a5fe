//! Buckets. What `object_store` does not do is done here: who we are and where the bucket is (from the pipeline file, the
//! environment and profile files), how many requests are under way, errors without what signs a request, and uploads in
//! parts that nobody will complete.

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, Error, Result, RetryConfig};
use tokio::sync::Semaphore;

use super::profile::{Environment, Keys, Profile, keys};
use super::walk::{Object, Odd, Oddity, Walk};
use crate::message::Message;

const RETRIES: u32 = 10;
const TIMEOUT: Duration = Duration::from_secs(30);
const REQUESTS_MAX: u32 = 64;
const REGION: &str = "us-east-1";
/// No request is sent again after this time.
const RETRY_TIME_MAX: Duration = Duration::from_secs(180);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Of an error's text, what is shown.
const ERROR_CHARS_MAX: usize = 300;
/// Room that is taken for an answer before its bytes arrive.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How to reach a store, as far as its section of the pipeline file says. What it does not say, the environment, a profile,
/// or a default does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `http://` or `https://`, host, port.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// A profile of `~/.aws/credentials` and `~/.aws/config`.
    pub profile: Option<String>,
    /// Whether the endpoint may be `http://`.
    pub allow_http: Option<bool>,
    /// Times that a failed request is sent again.
    pub retries: Option<u32>,
    /// Time for one request, its answer included.
    pub timeout: Option<Duration>,
    /// Requests under way at the same time.
    pub requests_max: Option<u32>,
}

/// A bucket, ready for requests.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) objects: Arc<AmazonS3>,
    /// None: Amazon's own.
    pub(super) endpoint: Option<String>,
    client: HttpClient,
    url: String,
    region: String,
    retries: u32,
}

/// An upload in parts that is neither complete nor given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// What it would become, relative to the root.
    pub object: String,
    /// The store's name for it.
    pub id: String,
}

impl Bucket {
    pub(super) fn open(name: &str, settings: &Settings, environment: &Environment) -> Result<Bucket, Message> {
        let profile = profile(settings, environment)?;
        let of_profile = |key| profile.as_ref().and_then(|profile| profile.get(key));
        let endpoint = settings.endpoint.as_deref();
        let endpoint = endpoint.or_else(|| environment.first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
        let endpoint = endpoint.or_else(|| of_profile("endpoint_url")).map(|url| url.trim_end_matches('/').to_owned());
        let region = settings.region.as_deref();
        let region = region.or_else(|| environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let region = region.or_else(|| of_profile("region")).unwrap_or(REGION).to_owned();
        let in_environment = || environment.get("AWS_ALLOW_HTTP").is_some_and(|value| value == "true");
        let allows_http = settings.allow_http.unwrap_or_else(in_environment);
        if let Some(endpoint) = &endpoint {
            check_endpoint(endpoint, allows_http)?;
        }
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            let message = Message::new("the region is no word of letters, digits and -");
            return Err(message.hint("write it like eu-central-1"));
        }
        let keys = keys(settings.profile.as_deref(), environment)?;
        let retries = settings.retries.unwrap_or(RETRIES);
        let options = ClientOptions::new()
            .with_allow_http(allows_http)
            .with_timeout(settings.timeout.unwrap_or(TIMEOUT))
            .with_pool_max_idle_per_host(settings.requests_max.unwrap_or(REQUESTS_MAX) as usize);
        let connector = Connector::new(settings.requests_max.unwrap_or(REQUESTS_MAX));
        let client = connector.connect(&options).map_err(unusable)?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&region)
            .with_client_options(options)
            .with_retry(retry(retries))
            .with_http_connector(connector);
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let builder = match keys {
            Keys::Fixed(credential) => {
                builder.with_credentials(Arc::new(object_store::StaticCredentialProvider::new(credential)))
            }
            Keys::Profile(keys) => builder.with_credentials(Arc::new(keys)),
            Keys::OfMachine => of_machine(builder, environment),
        };
        let objects = Arc::new(builder.build().map_err(unusable)?);
        let own = || format!("https://s3.{region}.amazonaws.com");
        let url = format!("{}/{name}", endpoint.clone().unwrap_or_else(own));
        Ok(Bucket { objects, endpoint, client, url, region, retries })
    }

    /// Uploads below a prefix that are neither complete nor given up.
    pub(super) async fn uploads(&self, prefix: &Path) -> Result<Vec<Upload>> {
        let below = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
        let mut uploads = Vec::new();
        let mut from = String::new();
        loop {
            let url = format!("{}?prefix={}&uploads={from}", self.url, encoded(&below));
            let page: UploadsPage = quick_xml::de::from_reader(&*self.get(&url).await?).map_err(unreadable)?;
            let of_root = |upload: UploadXml| {
                let object = upload.key.strip_prefix(&below)?.to_owned();
                Some(Upload { object, id: upload.upload_id })
            };
            uploads.extend(page.uploads.into_iter().filter_map(of_root));
            match (page.is_truncated, page.next_key_marker, page.next_upload_id_marker) {
                (true, Some(key), Some(id)) => {
                    from = format!("&key-marker={}&upload-id-marker={}", encoded(&key), encoded(&id));
                }
                _ => return Ok(uploads),
            }
        }
    }

    /// What lies below a prefix, or right in it, with names that stand for no object: one of them ends the listing of the
    /// library.
    pub(super) async fn walk(&self, prefix: &Path, is_shallow: bool) -> Result<Walk> {
        let below = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
        let delimiter = if is_shallow { "delimiter=%2F&" } else { "" };
        let (mut walk, mut from) = (Walk::default(), String::new());
        loop {
            let url = format!("{}?{from}{delimiter}encoding-type=url&list-type=2&prefix={}", self.url, encoded(&below));
            let page: ObjectsPage = quick_xml::de::from_reader(&*self.get(&url).await?).map_err(unreadable)?;
            let is_encoded = page.encoding_type.as_deref() == Some("url");
            for object in page.contents {
                object.add(&mut walk, &below, is_encoded);
            }
            let folders =
                page.common_prefixes.into_iter().filter_map(|folder| name(&folder.prefix, &below, is_encoded));
            let folder = |path: String| Odd { path: path.trim_end_matches('/').into(), why: Oddity::Folder };
            walk.odd.extend(folders.map(folder));
            match page.next_continuation_token.filter(|_| page.is_truncated) {
                Some(token) => from = format!("continuation-token={}&", encoded(&token)),
                None => return Ok(walk),
            }
        }
    }

    /// Gives an upload up. One that is not there any more is no error.
    pub(super) async fn abort(&self, object: &Path, id: &str) -> Result<()> {
        match self.objects.abort_multipart(object, &id.to_owned()).await {
            Err(Error::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    async fn get(&self, url: &str) -> Result<Bytes> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..self.retries {
            match self.get_once(url).await {
                Err(Failed { error, is_transient: true }) => {
                    tracing::info!(%error, "the store failed, asking again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                result => return result.map_err(|failed| failed.error),
            }
        }
        self.get_once(url).await.map_err(|failed| failed.error)
    }

    async fn get_once(&self, url: &str) -> Result<Bytes, Failed> {
        let credential = self.objects.credentials().get_credential().await?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.parse().map_err(unreadable)?;
        AwsAuthorizer::new(&credential, "s3", &self.region).try_authorize(&mut request, None)?;
        let answer = self.client.execute(request).await;
        let answer = answer.map_err(|error| Failed { error: unreadable(error), is_transient: true })?;
        let status = answer.status();
        let body = whole(answer.into_body(), 0).await.map_err(unreadable)?;
        if status.is_success() {
            return Ok(body);
        }
        let source: Box<dyn std::error::Error + Send + Sync> =
            format!("the store answered {status}: {}", String::from_utf8_lossy(&body)).into();
        let error = match status.as_u16() {
            401 | 403 => Error::PermissionDenied { path: "?uploads".into(), source },
            405 | 501 => Error::NotSupported { source },
            _ => Error::Generic { store: "S3", source },
        };
        Err(Failed { error, is_transient: status.is_server_error() && status != 501 || status == 429 })
    }
}

struct Failed {
    error: Error,
    is_transient: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { error, is_transient: false }
    }
}

/// The profile that says more than keys: the named one, else the environment's, else the default one if it is there.
fn profile(settings: &Settings, environment: &Environment) -> Result<Option<Profile>, Message> {
    match settings.profile.as_deref().or_else(|| environment.get("AWS_PROFILE")) {
        Some(named) => Profile::read(named, environment).map(Some),
        None => Ok(Profile::read("default", environment).ok()),
    }
}

/// An endpoint is scheme, host and port, and encrypted unless that is waived. It is not repeated: it may hold a password.
fn check_endpoint(endpoint: &str, allows_http: bool) -> Result<(), Message> {
    let form = "write the endpoint as https://host or https://host:port";
    let rest = match endpoint.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", rest)) if allows_http => rest,
        Some(("http", _)) => {
            let hint = "use https://, or write `allow_http = true` in `store` (or set AWS_ALLOW_HTTP=true)";
            return Err(Message::new("the endpoint is http://, which does not encrypt").hint(hint));
        }
        _ => return Err(Message::new("the endpoint is no URL of a host").hint(form)),
    };
    match rest.is_empty() || rest.contains(['@', '?', '#', ' ']) {
        true => {
            let message = Message::new("the endpoint is more than a host and a port");
            Err(message.hint(format!("{form}; credentials come from elsewhere")))
        }
        false => Ok(()),
    }
}

/// What the machine provides: web identity, container, instance metadata. `object_store` knows how.
fn of_machine(builder: AmazonS3Builder, environment: &Environment) -> AmazonS3Builder {
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
        ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
        ("AWS_METADATA_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
    ];
    let is_set = |(name, key)| environment.get(name).map(|value| (key, value));
    variables.into_iter().filter_map(is_set).fold(builder, |builder, (key, value)| builder.with_config(key, value))
}

fn retry(retries: u32) -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: PAUSE_MAX, base: 2.0 };
    RetryConfig { backoff, max_retries: retries as usize, retry_timeout: RETRY_TIME_MAX }
}

fn unusable(error: Error) -> Message {
    Message::new(error.to_string()).hint("check `store` and the AWS_ variables of the environment")
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "S3", source: Box::new(error) }
}

/// A part of a query, as signatures want it.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let bytes = text.bytes().map(|byte| if is_plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") });
    bytes.collect::<Vec<String>>().concat()
}

/// Makes clients that have one limit in common.
#[derive(Debug)]
struct Connector {
    requests: Arc<Semaphore>,
}

impl Connector {
    fn new(requests_max: u32) -> Connector {
        // Fails if it is done already, which is as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        Connector { requests: Arc::new(Semaphore::new(requests_max as usize)) }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Client { inner, requests: Arc::clone(&self.requests) }))
    }
}

/// Sends a request when there is room for it, and reads the whole answer before the next may take its place.
#[derive(Debug)]
struct Client {
    inner: HttpClient,
    requests: Arc<Semaphore>,
}

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let _room = self.requests.acquire().await.expect("it is never closed");
        let (parts, body) = self.inner.execute(request).await?.into_parts();
        let length =
            parts.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = whole(body, length.unwrap_or(0)).await?;
        if parts.status.is_client_error() || parts.status.is_server_error() {
            body = essence(&body).into();
        }
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(body)))
    }
}

async fn whole(body: HttpResponseBody, length: usize) -> Result<Bytes, HttpError> {
    let mut chunks = body.bytes_stream();
    let Some(first) = chunks.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = chunks.try_next().await? else { return Ok(first) };
    let mut bytes = BytesMut::with_capacity(length.clamp(first.len() + second.len(), ANSWER_BYTES_MAX));
    bytes.extend_from_slice(&first);
    bytes.extend_from_slice(&second);
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Code and message of an error. A store that finds a signature wrong repeats what was signed, the session token included:
/// that must not get into a log.
fn essence(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inside, _) = rest.split_once('<')?;
        Some(inside.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect::<String>())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => String::new(),
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadsPage {
    #[serde(default, rename = "Upload")]
    uploads: Vec<UploadXml>,
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadXml {
    key: String,
    upload_id: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectsPage {
    #[serde(default)]
    contents: Vec<ObjectXml>,
    #[serde(default)]
    common_prefixes: Vec<PrefixXml>,
    #[serde(default)]
    is_truncated: bool,
    encoding_type: Option<String>,
    next_continuation_token: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PrefixXml {
    prefix: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectXml {
    key: String,
    size: u64,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

impl ObjectXml {
    fn add(self, walk: &mut Walk, below: &str, is_encoded: bool) {
        let Some(path) = name(&self.key, below, is_encoded) else { return };
        match Path::parse(&path) {
            Ok(path) => walk.objects.push(Object {
                path: path.as_ref().into(),
                size: self.size,
                etag: self.etag,
                modified_ms: string_to_timestamp_nanos(&self.last_modified).unwrap_or(0) / 1_000_000,
            }),
            Err(_) => walk.odd.push(Odd { path, why: Oddity::Name }),
        }
    }
}

/// A key relative to what it lies below.
fn name(key: &str, below: &str, is_encoded: bool) -> Option<String> {
    let key = if is_encoded { decoded(key) } else { key.to_owned() };
    key.strip_prefix(below).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// A text in which some bytes are `%` and two digits, and spaces are `+`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let (byte, after) = match (byte, digits) {
            (b'%', Some(byte)) => (byte, &after[2..]),
            (b'+', _) => (b' ', after),
            (byte, _) => (byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(settings: Settings, variables: &[(&str, &str)]) -> Result<Bucket, Message> {
        let keys =
            [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "s3cr3t"), ("AWS_SESSION_TOKEN", "t0k3n")];
        Bucket::open("bucket", &settings, &Environment::of(keys.into_iter().chain(variables.iter().copied())))
    }

    #[test]
    fn the_section_goes_before_the_environment() {
        let variables = [("AWS_ENDPOINT_URL", "https://there:9000/"), ("AWS_REGION", "eu-west-1")];
        let bucket = open(Settings::default(), &variables).unwrap();
        assert_eq!((bucket.url.as_str(), bucket.region.as_str()), ("https://there:9000/bucket", "eu-west-1"));
        let written = Settings { endpoint: Some("https://here".into()), ..Settings::default() };
        let bucket = open(written, &variables).unwrap();
        assert_eq!(bucket.url, "https://here/bucket");
        assert_eq!(open(Settings::default(), &[]).unwrap().url, "https://s3.us-east-1.amazonaws.com/bucket");
    }

    #[test]
    fn keys_are_read_as_they_are_encoded() {
        assert_eq!(decoded("in/a+b%09c%2Bd%é%zz"), "in/a b\tc+d%é%zz");
        assert_eq!(name("in%2Fa", "in/", true).as_deref(), Some("a"));
        assert_eq!(name("in/a%2F", "in/", false).as_deref(), Some("a%2F"));
        assert_eq!((name("in/", "in/", false), name("other/a", "in/", false)), (None, None));
    }

    #[test]
    fn endpoints_are_encrypted_unless_that_is_waived() {
        let plain = || Settings { endpoint: Some("http://127.0.0.1:9000".into()), ..Settings::default() };
        assert!(open(plain(), &[]).unwrap_err().line().contains("allow_http = true"));
        assert!(open(plain(), &[("AWS_ALLOW_HTTP", "true")]).is_ok());
        assert!(open(Settings { allow_http: Some(true), ..plain() }, &[]).is_ok());
        assert!(open(Settings { allow_http: Some(false), ..plain() }, &[("AWS_ALLOW_HTTP", "true")]).is_err());
    }

    #[test]
    fn endpoints_that_are_none_are_refused_and_not_repeated() {
        for endpoint in ["there:9000", "https://", "https://me:hidden@there", "ftp://there", "https://there?hidden=1"] {
            let message = open(Settings { endpoint: Some(endpoint.into()), ..Settings::default() }, &[]).unwrap_err();
            assert!(message.hint.is_some() && !message.line().contains("hidden"), "{message}");
        }
    }

    #[test]
    fn a_bucket_can_be_printed_without_a_secret() {
        let text = format!("{:?}", open(Settings::default(), &[]).unwrap());
        assert!(text.contains("AKIAEXAMPLE") && !text.contains("s3cr3t") && !text.contains("t0k3n"), "{text}");
    }

    #[test]
    fn of_an_error_only_code_and_message_are_kept() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature</Message>\
                    <CanonicalRequest>GET / x-amz-security-token:t0k3n</CanonicalRequest></Error>";
        assert_eq!(essence(body.as_bytes()), "SignatureDoesNotMatch: The request signature");
        assert_eq!(essence(b"<html>t0k3n</html>"), "");
    }

    #[test]
    fn a_page_of_uploads_is_read() {
        let xml = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>b</NextKeyMarker>\
                   <NextUploadIdMarker>2</NextUploadIdMarker><Upload><Key>a&amp;b</Key><UploadId>1</UploadId></Upload>\
                   <MaxUploads>2</MaxUploads><Upload><Key>b</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>";
        let page: UploadsPage = quick_xml::de::from_reader(xml.as_bytes()).unwrap();
        assert_eq!(page.uploads.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["a&b", "b"]);
        assert!(page.is_truncated && page.next_upload_id_marker.as_deref() == Some("2"));
        let empty =
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><NextKeyMarker/></ListMultipartUploadsResult>";
        let page: UploadsPage = quick_xml::de::from_reader(empty.as_bytes()).unwrap();
        assert!(page.uploads.is_empty() && !page.is_truncated);
    }

    #[test]
    fn queries_are_encoded_as_signatures_want_it() {
        assert_eq!(encoded("a b/c~d+é"), "a%20b%2Fc~d%2B%C3%A9");
    }
}
