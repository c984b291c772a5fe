//! `standardise`: (value - mean) / deviation, clipped, with a word on nulls.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpipe_sdk::arrow_array::{Array, Float64Array};
use wasmpipe_sdk::{Answer, DataType, Field, Lineage, RecordBatch, RowError, Schema, Schemas, map_batches};

use crate::{float_columns, floats};

/// The config of [`standardise`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Standardise {
    /// The column that is read.
    pub column: String,
    /// The column that is added, or replaced if it is `column`.
    pub output: String,
    /// Is subtracted from every value.
    pub mean: f64,
    /// Divides what is left; more than 0.
    pub deviation: f64,
    /// A result below this becomes this. No limit unless given.
    pub min: Option<f64>,
    /// A result above this becomes this. No limit unless given.
    pub max: Option<f64>,
    /// What becomes of a null.
    pub nulls: Nulls,
    /// The result for a null under `nulls = "fill"`.
    pub fill: f64,
}

/// What becomes of a null.
#[derive(Deserialize, Serialize, JsonSchema, Default, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Nulls {
    /// It stays null.
    #[default]
    Keep,
    /// It becomes `fill`.
    Fill,
    /// It is a row error.
    Error,
}

impl Default for Standardise {
    fn default() -> Self {
        Self {
            column: "x".to_owned(),
            output: "standardised".to_owned(),
            mean: 0.0,
            deviation: 1.0,
            min: None,
            max: None,
            nulls: Nulls::Keep,
            fill: 0.0,
        }
    }
}

/// Standardises a float column: (value - `mean`) / `deviation`, not below `min` and not above `max`.
///
/// `column` and `output` name columns (`"x"`, `"standardised"` unless given). A null stays null, becomes `fill`, or is a
/// row error, as `nulls` says (`"keep"`, `"fill"`, `"error"`; keep unless given). NaN stays NaN: it is no null, and no
/// limit applies to it. The mean and deviation of a column are numbers that you know or compute elsewhere.
#[map_batches(schemas = schemas)]
pub fn standardise(batch: &RecordBatch, #[config] config: &Standardise) -> Result<Answer, String> {
    let column = floats(batch, 0)?;
    let mut values: Vec<f64> = column.values().iter().map(|value| config.apply(*value)).collect();
    let mut nulls = column.nulls().cloned();
    let mut errors = Vec::new();
    if config.nulls != Nulls::Keep
        && let Some(nulls) = nulls.take()
    {
        let rows = (0..values.len()).filter(|row| nulls.is_null(*row));
        match config.nulls {
            Nulls::Error => errors.extend(rows.map(is_null)),
            Nulls::Keep | Nulls::Fill => rows.for_each(|row| values[row] = config.fill),
        }
    }
    let column = Arc::new(Float64Array::new(values.into(), nulls));
    let schema = output(config, &batch.schema());
    let batch = RecordBatch::try_new(schema.into(), vec![column]).map_err(|error| error.to_string())?;
    Ok(Answer { batch, lineage: Lineage::Same, errors })
}

impl Standardise {
    // A NaN fails both comparisons and stays. Written so that a loop over it becomes SIMD.
    #[inline]
    fn apply(&self, value: f64) -> f64 {
        let value = (value - self.mean) / self.deviation;
        let (min, max) = (self.min.unwrap_or(f64::NEG_INFINITY), self.max.unwrap_or(f64::INFINITY));
        let value = if value < min { min } else { value };
        if value > max { max } else { value }
    }
}

fn is_null(row: usize) -> RowError {
    RowError { row: row as u32, message: "the value is null".to_owned() }
}

fn schemas(input: &Schema, config: &Standardise) -> Result<Schemas, String> {
    if !(config.deviation > 0.0 && config.deviation.is_finite()) {
        return Err(format!("deviation: {} is not more than 0", config.deviation));
    }
    if let (Some(min), Some(max)) = (config.min, config.max)
        && min > max
    {
        return Err(format!("min: {min} is more than max, which is {max}"));
    }
    let needs = float_columns(input, [config.column.as_str()])?;
    let adds = output(config, &needs);
    Ok(Schemas { needs, adds })
}

fn output(config: &Standardise, needs: &Schema) -> Schema {
    let nullable = config.nulls == Nulls::Keep && needs.field(0).is_nullable();
    Schema::new(vec![Field::new(&config.output, DataType::Float64, nullable)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: &Standardise, values: &[Option<f64>]) -> (Vec<Option<f64>>, Vec<u32>) {
        let input = Schema::new(vec![Field::new("x", DataType::Float64, true)]);
        let Schemas { needs, adds } = schemas(&input, config).expect("schemas");
        let column = Arc::new(Float64Array::from(values.to_vec()));
        let batch = RecordBatch::try_new(needs.into(), vec![column]).expect("a batch");
        let answer = standardise(&batch, config).expect("works");
        assert_eq!(answer.batch.schema().as_ref(), &adds);
        let values = floats(&answer.batch, 0).expect("floats").iter().collect();
        (values, answer.errors.iter().map(|error| error.row).collect())
    }

    #[test]
    fn values_are_standardised_and_clipped() {
        let config =
            Standardise { mean: 10.0, deviation: 2.0, min: Some(-1.0), max: Some(3.0), ..Standardise::default() };
        let (values, errors) = run(&config, &[Some(10.0), Some(11.0), Some(0.0), Some(100.0), None]);
        assert_eq!(values, [Some(0.0), Some(0.5), Some(-1.0), Some(3.0), None]);
        assert!(errors.is_empty());
        let (values, _) = run(&config, &[Some(f64::NAN), Some(f64::NEG_INFINITY)]);
        assert!(values[0].expect("no null").is_nan());
        assert_eq!(values[1], Some(-1.0));
    }

    #[test]
    fn nulls_are_filled_or_refused() {
        let fill = Standardise { nulls: Nulls::Fill, fill: -9.0, ..Standardise::default() };
        assert_eq!(run(&fill, &[None, Some(1.0)]), (vec![Some(-9.0), Some(1.0)], vec![]));
        let error = Standardise { nulls: Nulls::Error, ..Standardise::default() };
        let (values, errors) = run(&error, &[Some(1.0), None, Some(2.0), None]);
        assert_eq!((values[0], values[2], errors), (Some(1.0), Some(2.0), vec![1, 3]));
    }

    #[test]
    fn what_is_refused() {
        let input = Schema::new(vec![Field::new("x", DataType::Float64, true)]);
        let check = |config: Standardise, expected: &str| {
            assert_eq!(schemas(&input, &config).expect_err("refused"), expected);
        };
        check(Standardise { deviation: 0.0, ..Standardise::default() }, "deviation: 0 is not more than 0");
        let crossed = Standardise { min: Some(2.0), max: Some(1.0), ..Standardise::default() };
        check(crossed, "min: 2 is more than max, which is 1");
        let other = Standardise { column: "z".to_owned(), ..Standardise::default() };
        check(other, "there is no column `z`; the columns here are x");
    }
}
