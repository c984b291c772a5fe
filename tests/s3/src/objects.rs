//! What is in the buckets. One lock holds it all, so that create-only is atomic.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

/// All parts of an upload but the last have at least this size.
const PART_BYTES_MIN: usize = 5 << 20;

/// Buckets, objects, uploads.
#[derive(Debug)]
pub(crate) struct Objects {
    buckets: BTreeSet<String>,
    held: Mutex<Held>,
    uploads_begun: AtomicU64,
    /// Bytes of objects that were given out, by `bucket/key`.
    given: Mutex<BTreeMap<String, u64>>,
    pub(crate) ignore_create_only: AtomicBool,
    pub(crate) page: AtomicUsize,
}

#[derive(Debug, Default)]
struct Held {
    /// By `bucket/key`.
    objects: BTreeMap<String, Kept>,
    /// By `bucket/key` and id.
    uploads: BTreeMap<(String, String), BTreeMap<i32, Bytes>>,
}

#[derive(Clone, Debug)]
struct Kept {
    bytes: Bytes,
    etag: ETag,
    modified: SystemTime,
}

impl Kept {
    fn new(bytes: Bytes) -> Kept {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let etag = ETag::Strong(format!("{:032x}", hasher.finish()));
        Kept { bytes, etag, modified: SystemTime::now() }
    }

    fn check(&self, if_match: Option<&IfMatch>) -> S3Result<()> {
        let wanted = if_match.and_then(|condition| condition.as_etag());
        match wanted.is_none_or(|wanted| wanted.value() == self.etag.value()) {
            true => Ok(()),
            false => Err(s3_error!(PreconditionFailed)),
        }
    }
}

impl Objects {
    /// Bytes of an object that were given out since the last call.
    pub(crate) fn take_given(&self, name: &str) -> u64 {
        self.given.lock().unwrap().remove(name).unwrap_or_default()
    }

    pub(crate) fn new(buckets: &[&str]) -> Objects {
        Objects {
            buckets: buckets.iter().map(|&bucket| bucket.into()).collect(),
            held: Mutex::default(),
            uploads_begun: AtomicU64::new(0),
            given: Mutex::default(),
            ignore_create_only: AtomicBool::new(false),
            page: AtomicUsize::new(1000),
        }
    }

    pub(crate) fn all(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let held = self.lock();
        let below = held.objects.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        below.map(|(name, object)| (name.clone(), object.bytes.clone())).collect()
    }

    pub(crate) fn put(&self, name: &str, bytes: Bytes) {
        self.lock().objects.insert(name.into(), Kept::new(bytes));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().objects.remove(name);
    }

    pub(crate) fn uploads(&self) -> Vec<String> {
        self.lock().uploads.keys().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn begin_upload(&self, name: &str) -> String {
        let id = format!("upload-{}", self.uploads_begun.fetch_add(1, Ordering::SeqCst));
        self.lock().uploads.insert((name.into(), id.clone()), BTreeMap::new());
        id
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, bucket: &str, key: &str) -> S3Result<String> {
        match self.buckets.contains(bucket) {
            true => Ok(format!("{bucket}/{key}")),
            false => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")),
        }
    }

    fn find(&self, bucket: &str, key: &str) -> S3Result<Kept> {
        let name = self.name(bucket, key)?;
        let found = self.lock().objects.get(&name).cloned();
        found.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist"))
    }

    /// Makes an object, unless there is one and there must be none.
    fn create(
        &self,
        held: &mut Held,
        name: String,
        bytes: Bytes,
        if_none_match: Option<&IfNoneMatch>,
    ) -> S3Result<ETag> {
        let must_be_new = if_none_match.is_some_and(ETagCondition::is_any);
        if must_be_new && !self.ignore_create_only.load(Ordering::SeqCst) && held.objects.contains_key(&name) {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        let object = Kept::new(bytes);
        let etag = object.etag.clone();
        held.objects.insert(name, object);
        Ok(etag)
    }

    fn page_of(&self, wanted: Option<i32>) -> usize {
        let page = self.page.load(Ordering::SeqCst);
        wanted.and_then(|wanted| usize::try_from(wanted).ok()).map_or(page, |wanted| wanted.min(page))
    }
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let chunks: Vec<Bytes> = body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(joined(&chunks))
}

fn joined(chunks: &[Bytes]) -> Bytes {
    match chunks {
        [one] => one.clone(),
        many => many.concat().into(),
    }
}

fn blob(bytes: Bytes) -> StreamingBlob {
    s3s::Body::from(bytes).into()
}

/// The buckets as s3s sees them.
#[derive(Clone)]
pub(crate) struct Served(pub(crate) Arc<crate::serve::Shared>);

impl std::ops::Deref for Served {
    type Target = Objects;

    fn deref(&self) -> &Objects {
        &self.0.objects
    }
}

#[async_trait::async_trait]
impl S3 for Served {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, range, if_match, .. } = request.input;
        let object = self.find(&bucket, &key)?;
        object.check(if_match.as_ref())?;
        let size = object.bytes.len();
        let mut output = GetObjectOutput {
            e_tag: Some(object.etag.clone()),
            last_modified: Some(object.modified.into()),
            ..GetObjectOutput::default()
        };
        let bytes = match range {
            None => object.bytes,
            Some(range) => {
                let range = range.check(size as u64)?;
                output.content_range = Some(format!("bytes {}-{}/{size}", range.start, range.end - 1));
                object.bytes.slice(range.start as usize..range.end as usize)
            }
        };
        *self.given.lock().unwrap().entry(format!("{bucket}/{key}")).or_default() += bytes.len() as u64;
        output.content_length = Some(bytes.len() as i64);
        output.body = Some(blob(bytes));
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput { bucket, key, if_match, .. } = request.input;
        let object = self.find(&bucket, &key)?;
        object.check(if_match.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(object.bytes.len() as i64),
            e_tag: Some(object.etag),
            last_modified: Some(object.modified.into()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, if_none_match, .. } = request.input;
        let (name, bytes) = (self.name(&bucket, &key)?, whole(body).await?);
        let etag = self.create(&mut self.lock(), name, bytes, if_none_match.as_ref())?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag), ..PutObjectOutput::default() }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let name = self.name(&request.input.bucket, &request.input.key)?;
        self.lock().objects.remove(&name);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        let mut deleted = Vec::new();
        for object in delete.objects {
            let name = self.name(&bucket, &object.key)?;
            self.lock().objects.remove(&name);
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, delimiter, continuation_token, start_after, max_keys, .. } =
            request.input;
        let prefix = prefix.unwrap_or_default();
        let all = self.name(&bucket, &prefix)?;
        let after = continuation_token.or(start_after).map(|after| format!("{bucket}/{after}"));
        let from = after.map_or(Bound::Included(all.clone()), |after| Bound::Excluded(after.max(all.clone())));
        let page = self.page_of(max_keys);
        let (mut contents, mut folders, mut last, mut is_truncated) = (Vec::new(), Vec::new(), None, false);
        let held = self.lock();
        for (name, object) in
            held.objects.range((from, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(&all))
        {
            let key = &name[bucket.len() + 1..];
            let folder = delimiter.as_ref().and_then(|delimiter| {
                let end = key[prefix.len()..].find(delimiter.as_str())? + delimiter.len();
                Some(key[..prefix.len() + end].to_owned())
            });
            if folder.is_some() && folders.last() == folder.as_ref() {
                last = Some(key.to_owned());
                continue;
            }
            if contents.len() + folders.len() >= page {
                is_truncated = true;
                break;
            }
            last = Some(key.to_owned());
            match folder {
                Some(folder) => folders.push(folder),
                None => contents.push(Object {
                    key: Some(key.to_owned()),
                    size: Some(object.bytes.len() as i64),
                    e_tag: Some(object.etag.clone()),
                    last_modified: Some(object.modified.into()),
                    ..Object::default()
                }),
            }
        }
        let folders = folders.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) });
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(bucket),
            prefix: Some(prefix),
            delimiter,
            key_count: Some(contents.len() as i32),
            max_keys: Some(page as i32),
            contents: Some(contents),
            common_prefixes: Some(folders.collect()),
            is_truncated: Some(is_truncated),
            next_continuation_token: last.filter(|_| is_truncated),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = request.input;
        let id = self.begin_upload(&self.name(&bucket, &key)?);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { bucket, key, upload_id, part_number, body, .. } = request.input;
        let (name, bytes) = (self.name(&bucket, &key)?, whole(body).await?);
        let etag = Kept::new(bytes.clone()).etag;
        let mut held = self.lock();
        let parts = held.uploads.get_mut(&(name, upload_id)).ok_or_else(|| s3_error!(NoSuchUpload))?;
        parts.insert(part_number, bytes);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(etag), ..UploadPartOutput::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, if_none_match, .. } =
            request.input;
        let name = self.name(&bucket, &key)?;
        let wanted = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut held = self.lock();
        let upload = (name.clone(), upload_id);
        let parts = held.uploads.get(&upload).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let part = |part: &CompletedPart| part.part_number.and_then(|number| parts.get(&number)).cloned();
        let chunks: Option<Vec<Bytes>> = wanted.iter().map(part).collect();
        let chunks = chunks.filter(|chunks| !chunks.is_empty()).ok_or_else(|| s3_error!(InvalidPart))?;
        if chunks[..chunks.len() - 1].iter().any(|chunk| chunk.len() < PART_BYTES_MIN) {
            return Err(s3_error!(EntityTooSmall));
        }
        let bytes = joined(&chunks);
        let etag = self.create(&mut held, name, bytes, if_none_match.as_ref())?;
        held.uploads.remove(&upload);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(etag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = request.input;
        let name = self.name(&bucket, &key)?;
        match self.lock().uploads.remove(&(name, upload_id)) {
            Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            None => Err(s3_error!(NoSuchUpload)),
        }
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let ListMultipartUploadsInput { bucket, prefix, key_marker, upload_id_marker, max_uploads, .. } = request.input;
        let all = self.name(&bucket, prefix.as_deref().unwrap_or_default())?;
        let after = key_marker.map(|key| (format!("{bucket}/{key}"), upload_id_marker.unwrap_or_default()));
        let page = self.page_of(max_uploads);
        let held = self.lock();
        let below = held.uploads.keys().filter(|upload| upload.0.starts_with(&all));
        let mut below = below.filter(|upload| after.as_ref().is_none_or(|after| *upload > after)).peekable();
        let mut uploads = Vec::new();
        while let Some((name, id)) = below.next_if(|_| uploads.len() < page) {
            let key = Some(name[bucket.len() + 1..].to_owned());
            uploads.push(MultipartUpload { key, upload_id: Some(id.clone()), ..MultipartUpload::default() });
        }
        let is_truncated = below.peek().is_some();
        let last = uploads.last().filter(|_| is_truncated).cloned().unwrap_or_default();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(bucket),
            prefix,
            max_uploads: Some(page as i32),
            is_truncated: Some(is_truncated),
            next_key_marker: last.key,
            next_upload_id_marker: last.upload_id,
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
