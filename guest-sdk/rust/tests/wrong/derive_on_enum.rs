//! Columns of an enum.

#[derive(wasmpipe_sdk::Columns)]
enum Kind {
    Text,
    Code,
}
