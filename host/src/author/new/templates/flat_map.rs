//! One function for wasmpipe, and its unit test.

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::flat_map;

/// What the pipeline file says in `config`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Words of one passage.
    words_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { words_max: 100 }
    }
}

/// Cuts `text` into passages of at most `words_max` words, one row each. A text without words gives no row.
#[flat_map(columns("passage"))]
pub fn function_name(text: &str, #[config] config: &Config) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.chunks(config.words_max.max(1)).map(|passage| passage.join(" ")).collect()
}

wasmpipe_sdk::export!(function_name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_after_so_many_words() {
        let config = Config { words_max: 2 };
        assert_eq!(function_name("one two  three", &config), ["one two", "three"]);
        assert!(function_name(" ", &config).is_empty());
    }
}
