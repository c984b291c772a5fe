//! `polynomial`: a polynomial in two variables, by Horner's rule, a run of values at a time.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::arrow_array::{Array, Float64Array};
use wasmpipe_sdk::arrow_buffer::NullBuffer;
use wasmpipe_sdk::{DataType, Field, RecordBatch, Schema, Schemas, map_batches};

use crate::{float_columns, floats};

/// So many values are worked on at once: three runs of them stay in the fastest cache.
const RUN: usize = 256;

/// The config of [`polynomial`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Polynomial {
    /// The column of x.
    pub x: String,
    /// The column of y.
    pub y: String,
    /// The column that is added, or replaced if it is `x` or `y`.
    pub output: String,
    /// `coefficients[i][j]` belongs to x^i y^j: `[[c, b], [a]]` is `a x + b y + c`. Rows may differ in length.
    pub coefficients: Vec<Vec<f64>>,
}

impl Default for Polynomial {
    fn default() -> Self {
        Self {
            x: "x".to_owned(),
            y: "y".to_owned(),
            output: "polynomial".to_owned(),
            coefficients: vec![vec![0.0, 1.0], vec![1.0]],
        }
    }
}

/// A polynomial of two float columns: the sum of `coefficients[i][j]` x^i y^j.
///
/// `x`, `y` and `output` name columns (`"x"`, `"y"`, `"polynomial"` unless given). `coefficients = [[c, b], [a]]` is
/// a x + b y + c; unless given it is x + y. A row with a null in x or y gives null; NaN and infinities go their usual
/// ways. Horner's rule, so the last bits may differ from a sum of powers.
#[map_batches(schemas = schemas)]
pub fn polynomial(batch: &RecordBatch, #[config] config: &Polynomial) -> Result<RecordBatch, String> {
    let (x, y) = (floats(batch, 0)?, floats(batch, batch.num_columns() - 1)?);
    let mut values = vec![0.0; batch.num_rows()];
    for ((x, y), out) in x.values().chunks(RUN).zip(y.values().chunks(RUN)).zip(values.chunks_mut(RUN)) {
        evaluate(&config.coefficients, x, y, out);
    }
    let nulls = NullBuffer::union(x.nulls(), y.nulls());
    let column = Arc::new(Float64Array::new(values.into(), nulls));
    RecordBatch::try_new(output(config, &batch.schema()).into(), vec![column]).map_err(|error| error.to_string())
}

// Horner's rule in x over Horner's rule in y. Each step is one loop over the run.
fn evaluate(coefficients: &[Vec<f64>], x: &[f64], y: &[f64], out: &mut [f64]) {
    let mut inner = [0.0; RUN];
    let inner = &mut inner[..out.len()];
    for row in coefficients.iter().rev() {
        inner.fill(0.0);
        for coefficient in row.iter().rev() {
            inner.iter_mut().zip(y).for_each(|(inner, y)| *inner = *inner * y + coefficient);
        }
        out.iter_mut().zip(x).zip(&*inner).for_each(|((out, x), inner)| *out = *out * x + inner);
    }
}

fn schemas(input: &Schema, config: &Polynomial) -> Result<Schemas, String> {
    if config.coefficients.iter().flatten().any(|coefficient| !coefficient.is_finite()) {
        return Err("coefficients: each must be a finite number".to_owned());
    }
    let names = [config.x.as_str(), &config.y];
    let distinct = if config.x == config.y { &names[..1] } else { &names };
    let needs = float_columns(input, distinct.iter().copied())?;
    let adds = output(config, &needs);
    Ok(Schemas { needs, adds })
}

fn output(config: &Polynomial, needs: &Schema) -> Schema {
    let nullable = needs.fields().iter().any(|field| field.is_nullable());
    Schema::new(vec![Field::new(&config.output, DataType::Float64, nullable)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: &Polynomial, x: Vec<Option<f64>>, y: Vec<Option<f64>>) -> Vec<Option<f64>> {
        let nullable = |name| Field::new(name, DataType::Float64, true);
        let input = Schema::new(vec![nullable("x"), nullable("y")]);
        let needs = schemas(&input, config).expect("schemas").needs;
        let columns: [Arc<dyn Array>; 2] = [Arc::new(Float64Array::from(x)), Arc::new(Float64Array::from(y))];
        let columns = columns[..needs.fields().len()].to_vec();
        let answer = polynomial(&RecordBatch::try_new(needs.into(), columns).expect("a batch"), config).expect("works");
        floats(&answer, 0).expect("floats").iter().collect()
    }

    fn with(coefficients: &[&[f64]]) -> Polynomial {
        Polynomial { coefficients: coefficients.iter().map(|row| row.to_vec()).collect(), ..Polynomial::default() }
    }

    #[test]
    fn an_affine_map() {
        let affine = with(&[&[0.5, 2.0], &[-1.0]]);
        let values = run(&affine, vec![Some(1.0), Some(0.0), None], vec![Some(10.0), Some(0.25), Some(1.0)]);
        assert_eq!(values, [Some(19.5), Some(1.0), None]);
    }

    #[test]
    fn it_is_the_sum_of_its_terms_in_runs_of_any_length() {
        let cubic = with(&[&[1.0, -2.0, 0.5], &[3.0], &[], &[0.0, 0.0, -1.0]]);
        for rows in [0, 1, RUN - 1, RUN, RUN + 1, 3 * RUN + 7] {
            let x: Vec<f64> = (0..rows).map(|n| n as f64 / 64.0 - 3.0).collect();
            let y: Vec<f64> = (0..rows).map(|n| 2.0 - n as f64 / 128.0).collect();
            let sum = |x: f64, y: f64| 1.0 - 2.0 * y + 0.5 * y * y + 3.0 * x - x.powi(3) * y * y;
            let values = run(&cubic, x.iter().copied().map(Some).collect(), y.iter().copied().map(Some).collect());
            for ((value, x), y) in values.iter().zip(x).zip(y) {
                assert!((value.expect("no null") - sum(x, y)).abs() < 1e-9, "x {x}, y {y}");
            }
        }
    }

    #[test]
    fn no_coefficients_give_zero_and_one_column_may_be_both() {
        assert_eq!(run(&with(&[]), vec![Some(5.0)], vec![Some(5.0)]), [Some(0.0)]);
        let square = Polynomial { y: "x".to_owned(), ..with(&[&[], &[0.0, 1.0]]) };
        assert_eq!(run(&square, vec![Some(3.0)], vec![None]), [Some(9.0)]);
    }

    #[test]
    fn what_is_refused() {
        let input = Schema::new(vec![Field::new("x", DataType::Float64, true), Field::new("b", DataType::Utf8, true)]);
        let error = schemas(&input, &Polynomial::default()).expect_err("no y");
        assert_eq!(error, "there is no column `y`; the columns here are x, b");
        let error = schemas(&input, &with(&[&[f64::NAN]])).expect_err("not a number");
        assert_eq!(error, "coefficients: each must be a finite number");
    }
}
