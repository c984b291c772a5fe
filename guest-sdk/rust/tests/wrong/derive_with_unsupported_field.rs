//! A field that no column can hold.

#[derive(wasmpipe_sdk::Columns)]
struct Facts {
    size: usize,
}
