//! Curation of source code, as people do it for code search and for training data: three functions over the columns
//! `path`, `language` and `text`. Each has a file.
//!
//! It does not parse any language; all three look at lines and characters only.

mod facts;
mod handwritten;
mod passages;

wasmpipe_sdk::export!(handwritten::handwritten, facts::facts, passages::passages);
