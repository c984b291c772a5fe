//! One function for wasmpipe, and its unit test.

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::filter;

/// What the pipeline file says in `config`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Texts with fewer words are dropped.
    words_min: usize,
    /// Texts with more words are dropped.
    words_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { words_min: 1, words_max: 1_000_000 }
    }
}

/// Keeps texts of at least `words_min` and at most `words_max` words.
#[filter]
pub fn function_name(text: &str, #[config] config: &Config) -> bool {
    (config.words_min..=config.words_max).contains(&text.split_whitespace().count())
}

wasmpipe_sdk::export!(function_name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_texts_of_the_right_length() {
        let config = Config { words_min: 2, ..Config::default() };
        assert!(function_name("two words", &config));
        assert!(!function_name("one", &config));
        assert!(!function_name("", &Config::default()));
    }
}
