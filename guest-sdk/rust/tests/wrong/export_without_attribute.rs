//! A plain function, exported.

fn size(text: &str) -> u32 {
    text.len() as u32
}

wasmpipe_sdk::export!(size);
