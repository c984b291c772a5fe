use wasmpipe_sdk::map;

#[map]
fn u32(text: &str) -> u64 {
    text.len() as u64
}

wasmpipe_sdk::export!(u32);
