//! Who we are for S3: keys of the environment, or of a profile in the files that the AWS tools share. Secrets go from here
//! into signatures and nowhere else: no `Debug`, no error and no log shows one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use crate::message::Message;

/// How long keys of a profile file are used before the file is read again: other programs renew them while a job runs.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The variables that say how to reach a store and who we are.
#[derive(Clone, Default)]
pub struct Environment(Arc<BTreeMap<String, String>>);

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        let is_ours = |name: &str| name == "HOME" || name.starts_with("AWS_");
        let all =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Environment::of(all.filter(|(name, _)| is_ours(name)))
    }

    /// One that holds these variables and nothing else.
    pub fn of<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Environment {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Environment(Arc::new(variables.filter(|(_, value): &(String, String)| !value.is_empty()).collect()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of these that is set.
    pub(super) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    fn file(&self, variable: &str, name: &str) -> PathBuf {
        let home = || PathBuf::from(self.get("HOME").unwrap_or("/")).join(".aws").join(name);
        self.get(variable).map_or_else(home, PathBuf::from)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Keys {
    /// From the environment, for as long as the process lives.
    Fixed(AwsCredential),
    /// From a profile file.
    Profile(ProfileKeys),
    /// Neither: whatever the machine provides (web identity, container, instance metadata).
    OfMachine,
}

/// Finds the keys. A profile that the pipeline file names goes before the environment's keys, and these before the
/// environment's profile.
pub(super) fn keys(named: Option<&str>, environment: &Environment) -> Result<Keys, Message> {
    if let Some(profile) = named {
        return profile_keys(profile, environment);
    }
    let (id, secret) = (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"));
    match (id, secret) {
        (Some(id), Some(secret)) => {
            let token = environment.get("AWS_SESSION_TOKEN").map(Into::into);
            return sound(AwsCredential { key_id: id.into(), secret_key: secret.into(), token }).map(Keys::Fixed);
        }
        (Some(_), None) => return Err(half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        (None, Some(_)) => return Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
        (None, None) => {}
    }
    if environment.get("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() && environment.get("AWS_ROLE_ARN").is_some() {
        return Ok(Keys::OfMachine);
    }
    match environment.get("AWS_PROFILE") {
        Some(profile) => profile_keys(profile, environment),
        None if Profile::read("default", environment).is_ok_and(|profile| profile.credential().is_some()) => {
            profile_keys("default", environment)
        }
        None => Ok(Keys::OfMachine),
    }
}

/// A line break at the end of a mounted secret would end up in a header.
fn sound(credential: AwsCredential) -> Result<AwsCredential, Message> {
    let is_odd = |value: &str| !value.bytes().all(|byte| byte.is_ascii_graphic());
    let AwsCredential { key_id, secret_key, token } = &credential;
    let parts = [("key id", Some(key_id)), ("secret key", Some(secret_key)), ("session token", token.as_ref())];
    let odd = parts.into_iter().find(|(_, value)| value.is_some_and(|value| is_odd(value))).map(|(name, _)| name);
    match odd {
        Some(name) => {
            let what = format!("the {name} holds a space, a line break or another character that none has");
            Err(Message::new(what).hint("give it without, and not in quotes"))
        }
        None => Ok(credential),
    }
}

fn half(is: &str, is_not: &str) -> Message {
    Message::new(format!("the environment has {is} but no {is_not}")).hint("set both, or neither to use a profile")
}

fn profile_keys(profile: &str, environment: &Environment) -> Result<Keys, Message> {
    let keys = ProfileKeys { profile: profile.into(), environment: environment.clone(), read: Mutex::default() };
    keys.read()?;
    Ok(Keys::Profile(keys))
}

/// Keys of a profile, read again from time to time.
pub(super) struct ProfileKeys {
    profile: String,
    environment: Environment,
    read: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

impl fmt::Debug for ProfileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl ProfileKeys {
    fn read(&self) -> Result<Arc<AwsCredential>, Message> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, credential)) = &*read
            && at.elapsed() < READ_AGAIN_AFTER
        {
            return Ok(Arc::clone(credential));
        }
        let profile = Profile::read(&self.profile, &self.environment)?;
        let credential = profile.credential().ok_or_else(|| profile.without_keys(&self.profile))?;
        let credential = Arc::new(sound(credential)?);
        *read = Some((Instant::now(), Arc::clone(&credential)));
        Ok(credential)
    }
}

#[async_trait::async_trait]
impl CredentialProvider for ProfileKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.read().map_err(|Message { what, hint, .. }| {
            let source = format!("{what}; {}", hint.unwrap_or_default()).into();
            object_store::Error::Generic { store: "S3", source }
        })
    }
}

/// What both files say of one profile.
pub(super) struct Profile(BTreeMap<String, String>);

impl Profile {
    /// Reads the files. What the credentials file says goes before what the config file says.
    pub(super) fn read(name: &str, environment: &Environment) -> Result<Profile, Message> {
        let credentials = environment.file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = environment.file("AWS_CONFIG_FILE", "config");
        let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let long = format!("profile {name}");
        let (own, other) = (section(&text(&credentials), &[name]), section(&text(&config), &[&long, name]));
        let found = own.is_some() || other.is_some();
        let mut keys = other.unwrap_or_default();
        keys.extend(own.unwrap_or_default());
        if found {
            return Ok(Profile(keys));
        }
        let (name, credentials, config) = (name.escape_debug(), credentials.display(), config.display());
        let message = Message::new(format!("there is no profile `{name}` in {credentials} or {config}"));
        Err(message.hint("name one that is there, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn credential(&self) -> Option<AwsCredential> {
        let (id, secret) = (self.get("aws_access_key_id")?, self.get("aws_secret_access_key")?);
        let token = self.get("aws_session_token").map(Into::into);
        Some(AwsCredential { key_id: id.into(), secret_key: secret.into(), token })
    }

    fn without_keys(&self, name: &str) -> Message {
        let name = name.escape_debug();
        let others = ["role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file"];
        let other = others.into_iter().find(|key| self.get(key).is_some());
        let what = other.map_or("has no keys".into(), |key| format!("gets its keys by {key}, which is not supported"));
        let export = format!("`aws configure export-credentials --profile {name} --format env`");
        Message::new(format!("the profile `{name}` {what}")).hint(format!("{export} prints keys for the environment"))
    }
}

/// The keys of the first section that has one of these names. Lines that are indented belong to the key before them, and are
/// settings of single services.
fn section(text: &str, names: &[&str]) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_inside = false;
    for line in text.lines() {
        let comment = [" #", "\t#", " ;", "\t;"].iter().filter_map(|mark| line.find(mark)).min();
        let line = line[..comment.unwrap_or(line.len())].trim_end();
        if line.is_empty() || line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            is_inside = names.contains(&name.as_str());
            if is_inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value)), Some(found)) = (is_inside, line.split_once('='), &mut found) {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = AK1\naws_secret_access_key = s3cr3t/1+= ; old\n\n\
                               [ team ]\nAWS_ACCESS_KEY_ID=AK2\naws_secret_access_key=s3cr3t2\naws_session_token=t0k3n\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\ns3 =\n  addressing_style = path\n  region = wrong\n\
                          [profile sso]\nsso_session = x\n[profile team]\nendpoint_url = http://minio:9000\n";

    fn environment(folder: &tempfile::TempDir, more: &[(&str, &str)]) -> Environment {
        let aws = folder.path().join(".aws");
        std::fs::create_dir_all(&aws).unwrap();
        std::fs::write(aws.join("credentials"), CREDENTIALS).unwrap();
        std::fs::write(aws.join("config"), CONFIG).unwrap();
        let home = ("HOME", folder.path().to_str().unwrap());
        Environment::of(more.iter().copied().chain([home]))
    }

    fn key_id(keys: &Keys) -> String {
        match keys {
            Keys::Fixed(credential) => credential.key_id.clone(),
            Keys::Profile(profile) => profile.read().unwrap().key_id.clone(),
            Keys::OfMachine => "machine".into(),
        }
    }

    #[test]
    fn keys_come_from_the_first_place_that_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let own = [("AWS_ACCESS_KEY_ID", "AK0"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_PROFILE", "team")];
        let check = |named: Option<&str>, variables: &[(&str, &str)], wanted: &str| {
            let keys = keys(named, &environment(&folder, variables)).unwrap();
            assert_eq!(key_id(&keys), wanted, "{named:?} {variables:?}");
        };
        check(None, &own, "AK0");
        check(Some("default"), &own, "AK1");
        check(None, &own[2..], "AK2");
        check(None, &[], "AK1");
        check(None, &[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")], "machine");
        check(None, &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/f"), ("AWS_ROLE_ARN", "r")], "machine");
    }

    #[test]
    fn a_profile_has_the_keys_of_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let profile = Profile::read("team", &environment(&folder, &[])).unwrap();
        assert_eq!(profile.get("endpoint_url"), Some("http://minio:9000"));
        assert_eq!(profile.credential().unwrap().token.as_deref(), Some("t0k3n"));
        let default = Profile::read("default", &environment(&folder, &[])).unwrap();
        assert_eq!(default.get("region"), Some("eu-central-1"));
        assert_eq!(default.credential().unwrap().secret_key, "s3cr3t/1+=");
    }

    #[test]
    fn what_is_missing_is_said_without_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let check = |named: Option<&str>, variables: &[(&str, &str)], said: &str| {
            let message = keys(named, &environment(&folder, variables)).unwrap_err().line();
            assert!(message.contains(said) && !message.contains("s3cr3t"), "{message}");
        };
        check(Some("absent"), &[], "no profile `absent`");
        check(None, &[("AWS_PROFILE", "sso")], "sso_session, which is not supported");
        check(None, &[("AWS_SECRET_ACCESS_KEY", "s3cr3t")], "no AWS_ACCESS_KEY_ID");
    }

    #[test]
    fn nothing_that_can_be_printed_holds_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        for variables in [&[("AWS_ACCESS_KEY_ID", "AK0"), ("AWS_SECRET_ACCESS_KEY", "s3cr3t")][..], &[]] {
            let environment = environment(&folder, variables);
            let keys = keys(None, &environment).unwrap();
            key_id(&keys);
            let text = format!("{keys:?} {environment:?}");
            assert!(!text.contains("s3cr3t") && !text.contains("t0k3n"), "{text}");
        }
    }
}
