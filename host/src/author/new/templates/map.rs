//! One function for wasmpipe, and its unit test.

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::map;

/// What the pipeline file says in `config`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Words with fewer letters are not counted.
    letters_min: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { letters_min: 1 }
    }
}

/// Counts the words of `text` that have at least `letters_min` letters.
#[map]
pub fn function_name(text: &str, #[config] config: &Config) -> u32 {
    let letters = |word: &str| word.chars().filter(|c| c.is_alphabetic()).count();
    text.split_whitespace().filter(|word| letters(word) >= config.letters_min).count() as u32
}

wasmpipe_sdk::export!(function_name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_words() {
        let text = "It is a far, far better thing.";
        assert_eq!(function_name(text, &Config::default()), 7);
        assert_eq!(function_name(text, &Config { letters_min: 3 }), 4);
        assert_eq!(function_name("", &Config::default()), 0);
    }
}
