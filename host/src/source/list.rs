//! Which objects the source has, and what lies beside them. The order is that of the paths, so every run sees the same order.
//!
//! What would be read and cannot be is an error by name: rows would be missing otherwise. What is not meant to be read is
//! named, too, so that nobody takes it for read.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::DirEntry;
use std::path::{Path as FsPath, PathBuf};

use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::SourceError;
use super::glob::{Glob, is_glob, is_hidden, takes_itself};
use super::kind::FileKind;
use super::passed::PassedOver;
use crate::message::Message;
use crate::store::{Location, Object, Odd, Oddity, Store, Walk, is_no_bucket, staged_for};

/// Names that are shown of those that cannot be read.
const UNREADABLE_SHOWN_MAX: usize = 5;

/// What a pipeline file says in `[source] path`, split into a root and what is taken below it.
#[derive(Clone, Debug)]
pub struct Pattern {
    root: Location,
    pub(super) taken: Taken,
    /// Folders that no object may lie in, links resolved.
    avoided: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) enum Taken {
    /// One file of the root.
    File(String),
    /// Every file of the kind below the root, but not in or at hidden names; of any kind, if none is said.
    Folder(Option<FileKind>),
    /// What the glob matches.
    Glob(Glob),
}

impl Pattern {
    /// Reads a place: a glob if it has one of `*?[{`, else a folder or a file. Those of this machine must exist; in a bucket
    /// nothing is asked, and a name that ends as files do that are read, in `.parquet` or `.jsonl.gz`, is a file. In `base`, the folder that relative paths start at, those
    /// letters are letters.
    pub fn new(place: &Location, base: &FsPath) -> Result<Pattern, Message> {
        let text = place.path().ok_or("the path is not valid UTF-8")?;
        let below = place.local().and_then(|_| below(text, base)).unwrap_or(text);
        if is_glob(below) {
            return Pattern::glob(place, &text[..text.len() - below.len()], below);
        }
        Pattern::literal(place)
    }

    /// Reads a place in which no letter has a meaning.
    pub fn literal(place: &Location) -> Result<Pattern, Message> {
        let text = place.path().ok_or("the path is not valid UTF-8")?;
        match place.local() {
            Some(path) => Pattern::of_path(path, text),
            None => Ok(Pattern::of_key(place, text)),
        }
    }

    fn of_key(place: &Location, key: &str) -> Pattern {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        match FileKind::of(name).is_some() {
            true => Pattern::at(place.with_path(folder), Taken::File(name.into())),
            false => Pattern::at(place.clone(), Taken::Folder(None)),
        }
    }

    fn at(root: Location, taken: Taken) -> Pattern {
        Pattern { root, taken, avoided: Vec::new() }
    }

    fn of_path(path: &FsPath, text: &str) -> Result<Pattern, Message> {
        let kind = std::fs::metadata(path).map_err(|error| no_metadata(path, &error))?;
        if kind.is_dir() {
            return Ok(Pattern::at(Location::Local(path.into()), Taken::Folder(None)));
        }
        if !kind.is_file() {
            return Err(format!("{text} is neither a file nor a folder").into());
        }
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("the path names no file")?;
        if staged_for(name).is_some() {
            let what =
                format!("{name} ends in # and digits, which local stores keep for unfinished uploads: rename it");
            return Err(what.into());
        }
        let root = path.parent().unwrap_or(FsPath::new("/")).into();
        Ok(Pattern::at(Location::Local(root), Taken::File(name.into())))
    }

    /// `base` and `written` together are the path; only the latter is a pattern.
    fn glob(place: &Location, base: &str, written: &str) -> Result<Pattern, Message> {
        let fixed: Vec<&str> = written.split('/').take_while(|part| !is_glob(part)).collect();
        let fixed = fixed.join("/");
        let pattern = written[fixed.len()..].trim_start_matches('/');
        let glob = Glob::new(pattern)?;
        let root = format!("{base}{fixed}");
        let root = if root.is_empty() && place.local().is_some() { "/" } else { root.as_str() };
        let mut parts = pattern.trim_end_matches('/').split('/');
        if let (Some(_), Some(first)) = (place.local(), parts.next()) {
            refuse_ambiguity(FsPath::new(root), first, parts.next().is_none())?;
        }
        Ok(Pattern::at(place.with_path(root), Taken::Glob(glob)))
    }

    /// The same, but an object in one of these folders is an error, even if a link leads there.
    #[must_use]
    pub fn avoiding(self, folders: impl IntoIterator<Item = PathBuf>) -> Pattern {
        Pattern { avoided: folders.into_iter().collect(), ..self }
    }

    /// The same, but a folder takes files of this kind alone.
    #[must_use]
    pub fn of_kind(self, kind: FileKind) -> Pattern {
        let taken = match self.taken {
            Taken::Folder(_) => Taken::Folder(Some(kind)),
            other => other,
        };
        Pattern { taken, ..self }
    }

    /// What object paths are relative to.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// Whether it would take files of ours that lay in the folder `below` the root.
    pub fn takes_below(&self, below: &FsPath) -> bool {
        let samples = [
            "0123456789abcdef-0-0123456789abcdef-000000.parquet",
            "0123456789abcdef-0-0123456789abcdef-000000.jsonl",
            "0123456789abcdef-0-0123456789abcdef-000000.jsonl.gz",
            "0123456789abcdef-0-0123456789abcdef-000000.jsonl.zst",
            "side/0123456789abcdef-ids-0.parquet",
            "side/0123456789abcdef-listing-0123456789abcdef.parquet",
        ];
        samples.iter().any(|sample| below.join(sample).to_str().is_some_and(|path| self.takes(path)))
    }

    pub(super) fn takes(&self, path: &str) -> bool {
        match &self.taken {
            Taken::File(name) => path == name,
            Taken::Folder(kind) => is_of(path, *kind) && !path.split('/').any(is_hidden),
            Taken::Glob(glob) => glob.takes(path),
        }
    }

    /// Whether it may take something below a folder.
    pub(super) fn enters(&self, folder: &str) -> bool {
        match &self.taken {
            Taken::File(_) => false,
            Taken::Folder(_) => !folder.split('/').any(is_hidden),
            Taken::Glob(glob) => glob.enters(folder),
        }
    }
}

/// Whether a file is of the kind; of any, if none is said.
pub(super) fn is_of(path: &str, kind: Option<FileKind>) -> bool {
    FileKind::of(path).is_some_and(|own| kind.is_none_or(|kind| own == kind))
}

/// What of a path lies below `base`, with its slash.
fn below<'a>(path: &'a str, base: &FsPath) -> Option<&'a str> {
    let below = path.strip_prefix(base.to_str()?)?;
    (below.starts_with('/') || path.len() == below.len() || base.to_str()?.ends_with('/')).then_some(below)
}

/// A folder `exp[1]` is not what the pattern `exp[1]` takes. Which one is meant is not guessed.
fn refuse_ambiguity(root: &FsPath, part: &str, is_last: bool) -> Result<(), Message> {
    if takes_itself(part) || root.join(part).symlink_metadata().is_err() {
        return Ok(());
    }
    let literal: String =
        part.chars().map(|c| if is_glob(&c.to_string()) { format!("[{c}]") } else { c.into() }).collect();
    // A pattern takes files; a folder is named by what lies in it.
    let below = if is_last && root.join(part).is_dir() { "/**/*.parquet" } else { "" };
    let root = root.display();
    let what =
        format!("`{part}` is a pattern, and also the name of something in {root}, which the pattern does not take");
    let hint = format!("for that name write {literal}{below}; for the pattern write it in another way");
    Err(Message::new(what).hint(hint))
}

fn no_metadata(path: &FsPath, error: &std::io::Error) -> Message {
    let shown = path.display();
    if let Ok(target) = std::fs::read_link(path) {
        let target = target.display();
        let message = Message::new(format!("{shown} is a link to {target}, which cannot be reached: {error}"));
        return message.hint("mend the link, or name what is there");
    }
    let message = Message::new(format!("cannot read {shown}: {error}"));
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => message.hint("give this user the right to read it"),
        _ => message,
    }
}

/// All objects that the pattern takes, sorted by path.
pub async fn list(store: &Store, pattern: &Pattern) -> Result<Vec<Object>, SourceError> {
    Ok(survey(store, pattern, None).await?.objects)
}

/// What a source holds.
#[derive(Debug)]
pub struct Survey {
    /// All objects that the pattern takes, sorted by path.
    pub objects: Vec<Object>,
    /// What lies beside them.
    pub passed: PassedOver,
    /// What their names say that they are; Parquet if they say nothing.
    pub kind: FileKind,
    /// What takes these objects, and those of their kind that come later.
    pub pattern: Pattern,
}

/// What a source holds of files of a kind. If none is said, the names of those that are there say which.
pub async fn survey(store: &Store, pattern: &Pattern, kind: Option<FileKind>) -> Result<Survey, SourceError> {
    let Walk { mut objects, odd } = candidates(store, pattern).await.map_err(|cause| not_listed(pattern, cause))?;
    let kind = match kind {
        Some(kind) => kind,
        None => kind_of(pattern, &objects)?,
    };
    let pattern = pattern.clone().of_kind(kind);
    refuse_unreadable(&pattern, &odd)?;
    let passed = PassedOver::of(&pattern, &objects, &odd);
    objects.retain(|object| pattern.takes(&object.path));
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(folder) = store.local_root() {
        refuse_twins(folder, &pattern, &objects)?;
    }
    Ok(Survey { objects, passed, kind, pattern })
}

/// What the names of the objects say. Of a folder with several kinds it is the Parquet files: others may be anything.
fn kind_of(pattern: &Pattern, objects: &[Object]) -> Result<FileKind, SourceError> {
    let taken = || objects.iter().filter(|object| pattern.takes(&object.path));
    let lines = |object: &&Object| FileKind::of(&object.path) == Some(FileKind::JsonLines);
    let (Some(first), other) = (taken().find(lines), taken().find(|object| !lines(object))) else {
        return Ok(FileKind::Parquet);
    };
    match (&pattern.taken, other) {
        (_, None) => Ok(FileKind::JsonLines),
        (Taken::Folder(_), Some(_)) => Ok(FileKind::Parquet),
        (_, Some(other)) => Err(SourceError::Bad {
            object: shown(&first.path),
            message: format!("is JSON Lines by its name, and {} is not: a job reads one format", shown(&other.path)),
            hint: "narrow the path to files of one format; or write format = \"jsonl\" or \"parquet\" under [source]",
        }),
    }
}

/// Looks no further than it must: folders beside the source may be huge, or closed to this user.
async fn candidates(store: &Store, pattern: &Pattern) -> object_store::Result<Walk> {
    match &pattern.taken {
        Taken::File(name) => {
            let meta = store.objects().head(&Path::parse(name)?).await?;
            Ok(Walk { objects: vec![meta.into()], odd: Vec::new() })
        }
        Taken::Glob(glob) if glob.is_shallow() => store.walk_root().await,
        Taken::Glob(_) | Taken::Folder(_) => {
            let pattern = pattern.clone();
            store.walk(move |folder| pattern.enters(folder)).await
        }
    }
}

/// Rows of what cannot be read would be missing in the output.
fn refuse_unreadable(pattern: &Pattern, odd: &[Odd]) -> Result<(), SourceError> {
    let mut unreadable: Vec<(&Odd, String, &'static str)> = Vec::new();
    for odd in odd {
        unreadable.extend(why_unreadable(pattern, odd).map(|(what, hint)| (odd, what, hint)));
    }
    unreadable.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    let Some((first, what, hint)) = unreadable.first() else { return Ok(()) };
    let others = unreadable[1..].iter().take(UNREADABLE_SHOWN_MAX);
    let others: String = others.map(|(odd, what, _)| format!("\n  so is {}: {what}", shown(&odd.path))).collect();
    let more = match unreadable.len().saturating_sub(1 + UNREADABLE_SHOWN_MAX) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let object = if first.path.is_empty() { pattern.root.to_string() } else { shown(&first.path) };
    Err(SourceError::Bad { object, message: format!("cannot be read: {what}{others}{more}"), hint })
}

/// What is wrong with a name below the root, and what to do; none if nothing of it is wanted.
fn why_unreadable(pattern: &Pattern, odd: &Odd) -> Option<(String, &'static str)> {
    let takes = pattern.takes(&odd.path);
    let is_root = odd.path.is_empty();
    match &odd.why {
        Oddity::Name if takes => Some((
            "its path has a control character or an empty part, or is not UTF-8".into(),
            "rename it; or name the others with a glob that does not match it",
        )),
        Oddity::Staged if takes => Some((
            "it ends in # and digits, which local stores keep for unfinished uploads".into(),
            "rename it, or narrow the glob",
        )),
        Oddity::Broken { target } if takes => Some((
            format!("it is a link to {}, where nothing is", target.display()),
            "put its target back, or mend the link; or name the others with a glob that does not match it",
        )),
        Oddity::Loop { target } => Some((
            format!("it is a link to {}, a folder in which it lies itself", target.display()),
            "move the link out of the source, or narrow the path with a glob: what lies there is read without it",
        )),
        Oddity::Closed { cause } if takes || is_root || pattern.enters(&odd.path) => Some((
            cause.clone(),
            "give this user the right to read it; or name the others with a glob that does not match it",
        )),
        Oddity::Special if takes => {
            Some(("it is a pipe, a socket or a device".into(), "name the others with a glob that does not match it"))
        }
        _ => None,
    }
}

/// A name in a line of ours.
pub(super) fn shown(path: &str) -> String {
    path.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
}

fn not_listed(pattern: &Pattern, cause: object_store::Error) -> SourceError {
    let root = pattern.root.to_string();
    match (&pattern.taken, cause) {
        (Taken::File(name), object_store::Error::NotFound { .. }) => SourceError::Bad {
            object: name.clone(),
            message: format!("is not in {root}"),
            hint: "check the name; if it is a folder, end it with a slash",
        },
        (_, cause) if is_no_bucket(&cause) => SourceError::Bad {
            object: root,
            message: "cannot be listed: there is no such bucket (NoSuchBucket)".into(),
            hint: "check the bucket's name, its region and its endpoint",
        },
        (_, cause) => SourceError::from_store(&root, cause),
    }
}

/// Two listed paths that are one file, by a symbolic link, would double its rows; a link into the sink would do so
/// without end.
fn refuse_twins(folder: &FsPath, pattern: &Pattern, objects: &[Object]) -> Result<(), SourceError> {
    let (mut folders, mut seen) = (HashMap::new(), HashMap::new());
    for object in objects {
        let path = folder.join(object.path.as_ref());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let real = folders.entry(parent.to_path_buf()).or_insert_with(|| Folder::look(parent)).real(name);
        let Some(real) = real else { continue };
        if let Some(own) = pattern.avoided.iter().find(|own| real.starts_with(own)) {
            let message = format!("lies in {}, which this job writes", own.display());
            let hint = "take it out of the source: output that is input again doubles rows without end";
            return Err(SourceError::Bad { object: object.path.to_string(), message, hint });
        }
        if let Some(first) = seen.insert(real, &object.path) {
            let message = format!("is the same file as {first}, by a symbolic link");
            let hint = "leave one of the two out, with a glob or another folder: its rows would be in the output twice";
            return Err(SourceError::Bad { object: object.path.to_string(), message, hint });
        }
    }
    Ok(())
}

/// A folder of the source, looked at once: most files are no links, and then their real path is known without asking.
struct Folder {
    path: PathBuf,
    real: Option<PathBuf>,
    /// Names that may be links.
    links: HashSet<OsString>,
}

impl Folder {
    fn look(path: &FsPath) -> Folder {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let may_be_link = |entry: &DirEntry| !entry.file_type().is_ok_and(|kind| kind.is_file());
        let links = entries.filter(may_be_link).map(|entry| entry.file_name()).collect();
        Folder { path: path.into(), real: path.canonicalize().ok(), links }
    }

    fn real(&self, name: &OsStr) -> Option<PathBuf> {
        if self.links.contains(name) {
            return self.path.join(name).canonicalize().ok();
        }
        self.real.as_ref().map(|real| real.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_split_into_root_and_pattern() {
        let pattern =
            Pattern::new(&Location::Local("/data/corpus/2026-*/part-?.parquet".into()), FsPath::new("/")).unwrap();
        assert_eq!(pattern.root(), &Location::Local("/data/corpus".into()));
        assert!(pattern.takes("2026-01/part-1.parquet"));
        assert!(!pattern.takes("2026-01/deeper/part-1.parquet"));
    }

    #[test]
    fn a_folder_takes_parquet_files_that_are_not_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = Pattern::new(&Location::Local(folder.path().into()), FsPath::new("/")).unwrap();
        assert!(pattern.takes("a/b.parquet"));
        for path in ["a/_wasmpipe/b.parquet", ".b.parquet", "b.csv"] {
            assert!(!pattern.takes(path), "{path}");
        }
    }

    #[test]
    fn in_a_bucket_the_name_says_what_is_taken() {
        let pattern =
            |url: &str| Pattern::new(&Location::parse(url, FsPath::new("/")).unwrap(), FsPath::new("/")).unwrap();
        let cases = [
            ("s3://bucket/in/2026-*/part-?.parquet", "s3://bucket/in", "2026-01/part-1.parquet", "a.parquet"),
            ("s3://bucket/*.parquet", "s3://bucket/", "a.parquet", "in/a.parquet"),
            ("s3://bucket/in/a.parquet", "s3://bucket/in", "a.parquet", "b.parquet"),
            ("s3://bucket/a.parquet", "s3://bucket/", "a.parquet", "in/a.parquet"),
            ("s3://bucket/a.parquet/", "s3://bucket/a.parquet/", "in/part-0.parquet", "_SUCCESS"),
            ("s3://bucket/in", "s3://bucket/in", "a/b.parquet", "a/b.csv"),
            ("s3://bucket/in/a.jsonl.gz", "s3://bucket/in", "a.jsonl.gz", "b.jsonl.gz"),
            ("s3://bucket", "s3://bucket/", "a/b.parquet", "_a/b.parquet"),
        ];
        for (url, root, taken, left) in cases {
            let pattern = pattern(url);
            assert_eq!(pattern.root().to_string(), root, "{url}");
            assert!(pattern.takes(taken) && !pattern.takes(left), "{url}");
        }
    }
}
