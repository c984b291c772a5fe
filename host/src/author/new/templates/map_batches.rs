//! One function for wasmpipe, and its unit test.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::arrow_array::cast::AsArray;
use wasmpipe_sdk::arrow_array::types::Int64Type;
use wasmpipe_sdk::arrow_array::{ArrayRef, Float64Array};
use wasmpipe_sdk::{RecordBatch, map_batches};

/// What the pipeline file says in `config`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Is subtracted first.
    offset: f64,
    /// Is multiplied with then.
    scale: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { offset: 0.0, scale: 1.0 }
    }
}

/// Scales the column `n`: `(n - offset) * scale`. Works on a whole block of rows at once, of whatever size; a row's result
/// does not depend on its neighbours.
#[map_batches(needs("n": i64), adds("scaled": f64))]
pub fn function_name(batch: &RecordBatch, #[config] config: &Config) -> Result<RecordBatch, String> {
    let n = batch.column(0).as_primitive::<Int64Type>();
    let scaled: Float64Array = n.unary(|n| (n as f64 - config.offset) * config.scale);
    let columns = [("scaled", Arc::new(scaled) as ArrayRef)];
    RecordBatch::try_from_iter(columns).map_err(|error| error.to_string())
}

wasmpipe_sdk::export!(function_name);

#[cfg(test)]
mod tests {
    use wasmpipe_sdk::arrow_array::Int64Array;
    use wasmpipe_sdk::arrow_array::types::Float64Type;

    use super::*;

    #[test]
    fn scales_every_row() {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![10, 20]));
        let batch = RecordBatch::try_from_iter([("n", n)]).expect("one column");
        let answer = function_name(&batch, &Config { offset: 10.0, scale: 0.5 }).expect("numbers");
        assert_eq!(answer.column(0).as_primitive::<Float64Type>().values(), &[0.0, 5.0]);
    }
}
