//! What a declaration of `keys.rs` becomes: each key is written once, and from that follow the field that holds its value, how
//! it is read, its default, and its entry in the table that hints, the page of keys and the JSON Schema are made of.

/// A section: a struct with a field for each key.
///
/// ```text
/// /// What is said about the section.
/// Run in "[run]":
///     /// What is said about the key.
///     workers: u32 = Whole(1..=THREADS_MAX), like "2", absent "cores";
/// ```
///
/// A key is `name: type of the value = kind, like EXAMPLE` and one of `required`, `default VALUE` and `absent TEXT`, where the
/// text says what holds instead. A key with a default has a method of its name, which answers what is written or else that.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $section:ident in $header:literal:
        $($(#[doc = $docs:literal])+ $key:ident: $type:ty = $kind:expr, like $like:literal, $need:ident $($value:expr)?;)+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $section {
            $($(#[doc = $docs])+ pub $key: Option<At<$type>>,)+
        }

        impl $section {
            pub(super) const SHAPE: Shape = Shape {
                name: $header,
                docs: &[$($about),+],
                keys: &[$(Key {
                    name: stringify!($key),
                    kind: &$kind,
                    example: concat!(stringify!($key), " = ", $like),
                    need: section!(@need $kind, $need $($value)?),
                    docs: &[$($docs),+],
                }),+],
            };

            pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Self {
                Self { $($key: section.read(stringify!($key), &$kind, report)),+ }
            }

            $(section! { @method $key: $type, $need $($value)? })+
        }
    };
    (@need $kind:expr, required) => { Need::Required };
    (@need $kind:expr, default $value:expr) => { Need::Default(|| $kind.written($value)) };
    (@need $kind:expr, absent $text:expr) => { Need::Absent($text) };
    (@method $key:ident: $type:ty, default $value:expr) => {
        #[doc = concat!("`", stringify!($key), "` as it is written, or its default.")]
        pub fn $key(&self) -> $type {
            self.$key.as_ref().map_or($value, |written| written.value)
        }
    };
    (@method $key:ident: $type:ty, $need:ident $($text:expr)?) => {};
}

/// A few words, of which one is written.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        $choice:ident:
        $($(#[doc = $docs:literal])+ $word:literal is $variant:ident;)+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $choice {
            $(#[doc = concat!("`\"", $word, "\"`:")] $(#[doc = $docs])+ $variant,)+
        }

        impl $choice {
            pub(super) const WORDS: &[(&str, $choice)] = &[$(($word, $choice::$variant)),+];
        }
    };
}

pub(super) use {choice, section};
