//! A parameter that no column can be read as.

use wasmpipe_sdk::map;

#[map]
fn size(path: std::path::PathBuf) -> u32 {
    path.as_os_str().len() as u32
}
