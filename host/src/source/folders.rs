//! Folders whose names hold a value of each row below them, as Hive and Spark write them: `lang=de/year=2024/`. The values
//! are not read as columns; who plans a job says so.

use super::Object;

/// The keys of such folders between the source's root and its objects, each once, in the order in which they are met.
pub fn folder_keys(objects: &[Object]) -> Vec<&str> {
    let mut keys: Vec<&str> = Vec::new();
    for object in objects {
        let (folders, _) = object.path.rsplit_once('/').unwrap_or_default();
        let own = folders.split('/').filter_map(|folder| folder.split_once('=')).map(|(key, _)| key);
        for key in own.filter(|key| !key.is_empty()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(paths: &[&str]) -> Vec<String> {
        let object = |path: &&str| Object { path: (*path).into(), size: 0, etag: None, modified_ms: 0 };
        let objects: Vec<Object> = paths.iter().map(object).collect();
        folder_keys(&objects).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn folders_have_keys_and_files_have_none() {
        assert_eq!(keys(&["lang=de/year=2024/a.parquet", "lang=en/month=1/b=c.parquet"]), ["lang", "year", "month"]);
        assert!(keys(&["x=1.parquet", "=/a.parquet", "plain/a.parquet"]).is_empty());
    }
}
