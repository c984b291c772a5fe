//! The function that changes nothing: what is left of a pipeline's time with it is what the boundary costs.

use serde::Deserialize;
use wasmpipe_sdk::arrow_schema::ArrowError;
use wasmpipe_sdk::{RecordBatch, Schema, Schemas, map_batches};

/// The config of [`identity`].
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Which columns go in and out. All, if not given.
    pub columns: Option<Vec<String>>,
}

/// Answers the columns named in `columns`, of whatever type (all columns unless given), as they are.
#[map_batches(schemas = schemas)]
pub fn identity(batch: &RecordBatch, #[config] _columns: &Columns) -> RecordBatch {
    batch.clone()
}

fn schemas(input: &Schema, config: &Columns) -> Result<Schemas, ArrowError> {
    let indices = match &config.columns {
        Some(names) => names.iter().map(|name| input.index_of(name)).collect::<Result<_, _>>()?,
        None => (0..input.fields().len()).collect::<Vec<_>>(),
    };
    let columns = input.project(&indices)?;
    Ok(Schemas { needs: columns.clone(), adds: columns })
}

wasmpipe_sdk::export!(identity);

#[cfg(test)]
mod tests {
    use wasmpipe_sdk::{DataType, Field};

    use super::*;

    #[test]
    fn chosen_columns_or_all() {
        let input = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Date32, false)]);
        let all = schemas(&input, &Columns::default()).expect("all");
        assert_eq!((&all.needs, &all.adds), (&input, &input));
        let b = Columns { columns: Some(vec!["b".to_owned()]) };
        assert_eq!(schemas(&input, &b).expect("b").adds, input.project(&[1]).expect("b"));
        let c = Columns { columns: Some(vec!["c".to_owned()]) };
        assert!(schemas(&input, &c).expect_err("no c").to_string().contains("\"c\""));
    }

    #[test]
    fn nothing_changes() {
        let batch = RecordBatch::new_empty(Schema::new(vec![Field::new("a", DataType::Int64, true)]).into());
        assert_eq!(identity(&batch, &Columns::default()), batch);
    }
}
