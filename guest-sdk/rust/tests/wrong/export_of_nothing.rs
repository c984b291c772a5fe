//! An export of functions that are not there.

mod texts {
    #[wasmpipe_sdk::map]
    pub fn size(text: &str) -> u32 {
        text.len() as u32
    }
}

wasmpipe_sdk::export!(texts::size, sice, texts::words);
