//! Schemas as lists of fields, and types as format strings of the Arrow C data interface.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField, Fields, IntervalUnit, Schema, TimeUnit};

use crate::Defect;

/// Types within types. Parquet readers give up at 100 levels, of which a list takes two; each level costs the reader stack.
const DEPTH_MAX: usize = 32;
/// Values of one fixed-size list, and bytes of one fixed-size binary. Keeps products of lengths far from overflow.
const FIXED_SIZE_MAX: i32 = 1 << 20;
/// Characters of a message's quotation.
const QUOTE_CHARS_MAX: usize = 100;

/// A field of a schema; its children follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// `l` for int64, `u` for strings with 32-bit offsets, and so on.
    pub format: String,
    pub nullable: bool,
    /// How many of the fields that follow are direct children of this one; each has its own children after it.
    pub children: u32,
    /// Such as `ARROW:extension:name`.
    pub metadata: Vec<(String, String)>,
}

/// The fields of a schema, in pre-order. Refuses types that do not cross.
pub fn fields_of(schema: &Schema) -> Result<Vec<Field>, Defect> {
    let mut fields = Vec::new();
    schema.fields().iter().try_for_each(|field| add(field, true, &mut fields))?;
    Ok(fields)
}

/// Whether a column's type crosses the boundary.
pub fn crosses(column: &ArrowField) -> bool {
    add(column, true, &mut Vec::new()).is_ok()
}

fn add(field: &ArrowField, top: bool, fields: &mut Vec<Field>) -> Result<(), Defect> {
    let children = children_of(field.data_type());
    carried(field.data_type(), top).map_err(|what| in_column(field.name(), &what))?;
    let mut metadata: Vec<(String, String)> = field.metadata().clone().into_iter().collect();
    metadata.sort();
    fields.push(Field {
        name: field.name().clone(),
        format: format(field.data_type()).map_err(|what| in_column(field.name(), &what))?,
        nullable: field.is_nullable(),
        children: children.len() as u32,
        metadata,
    });
    children.into_iter().try_for_each(|child| add(child, false, fields))
}

fn in_column(name: &str, what: &str) -> Defect {
    format!("has the column `{}` {what}", quoted(&name))
}

fn children_of(data_type: &DataType) -> Vec<&ArrowField> {
    match data_type {
        DataType::List(child) | DataType::LargeList(child) | DataType::FixedSizeList(child, _) => vec![child],
        DataType::Map(entries, _) => vec![entries],
        DataType::Struct(children) => children.iter().map(AsRef::as_ref).collect(),
        _ => Vec::new(),
    }
}

/// The schema that fields in pre-order make. They may come from a stranger.
pub fn schema_of(fields: &[Field]) -> Result<Schema, Defect> {
    let mut rest = fields;
    let mut columns = Vec::new();
    while !rest.is_empty() {
        columns.push(Arc::new(take(&mut rest, 0)?));
    }
    Ok(Schema::new(Fields::from(columns)))
}

fn take(rest: &mut &[Field], depth: usize) -> Result<ArrowField, Defect> {
    let (field, after) = rest.split_first().ok_or("has fewer fields than it announces")?;
    *rest = after;
    if depth > DEPTH_MAX {
        return Err(format!("has types within types, more than {DEPTH_MAX} deep"));
    }
    if field.children as usize > rest.len() {
        return Err(format!("has `{}` with {} children and no such fields", quoted(&field.name), field.children));
    }
    let children = (0..field.children).map(|_| take(rest, depth + 1).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let data_type = parse(&field.format, children)
        .and_then(|data_type| carried(&data_type, depth == 0).map(|()| data_type))
        .map_err(|what| in_column(&field.name, &what))?;
    let metadata: HashMap<String, String> = field.metadata.iter().cloned().collect();
    Ok(ArrowField::new(&field.name, data_type, field.nullable).with_metadata(metadata))
}

/// Whether a column type crosses the boundary. Refused is what can claim rows without bytes (nulls within other types,
/// values of no width), what points at bytes many times over, and what no sink can store.
fn carried(data_type: &DataType, top: bool) -> Result<(), Defect> {
    match data_type {
        DataType::Null if !top => Err("with nulls of no type within another type".to_owned()),
        DataType::FixedSizeBinary(size) | DataType::FixedSizeList(_, size) if !(1..=FIXED_SIZE_MAX).contains(size) => {
            Err(format!("of fixed size {size}; allowed are 1 to {FIXED_SIZE_MAX}"))
        }
        DataType::Struct(fields) if fields.is_empty() => Err("with a struct of no fields".to_owned()),
        _ => Ok(()),
    }
}

/// The format strings of types without parameters.
const PLAIN: [(&str, DataType); 33] = [
    ("n", DataType::Null),
    ("b", DataType::Boolean),
    ("c", DataType::Int8),
    ("C", DataType::UInt8),
    ("s", DataType::Int16),
    ("S", DataType::UInt16),
    ("i", DataType::Int32),
    ("I", DataType::UInt32),
    ("l", DataType::Int64),
    ("L", DataType::UInt64),
    ("e", DataType::Float16),
    ("f", DataType::Float32),
    ("g", DataType::Float64),
    ("z", DataType::Binary),
    ("Z", DataType::LargeBinary),
    ("u", DataType::Utf8),
    ("U", DataType::LargeUtf8),
    ("tdD", DataType::Date32),
    ("tdm", DataType::Date64),
    ("tts", DataType::Time32(TimeUnit::Second)),
    ("ttm", DataType::Time32(TimeUnit::Millisecond)),
    ("ttu", DataType::Time64(TimeUnit::Microsecond)),
    ("ttn", DataType::Time64(TimeUnit::Nanosecond)),
    ("tDs", DataType::Duration(TimeUnit::Second)),
    ("tDm", DataType::Duration(TimeUnit::Millisecond)),
    ("tDu", DataType::Duration(TimeUnit::Microsecond)),
    ("tDn", DataType::Duration(TimeUnit::Nanosecond)),
    ("tiM", DataType::Interval(IntervalUnit::YearMonth)),
    ("tiD", DataType::Interval(IntervalUnit::DayTime)),
    ("tin", DataType::Interval(IntervalUnit::MonthDayNano)),
    ("tss:", DataType::Timestamp(TimeUnit::Second, None)),
    ("tsm:", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ("tsu:", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

fn format(data_type: &DataType) -> Result<String, Defect> {
    if let Some((format, _)) = PLAIN.iter().find(|(_, plain)| plain == data_type) {
        return Ok((*format).to_owned());
    }
    Ok(match data_type {
        DataType::Timestamp(unit, zone) => format!("ts{}:{}", letter(*unit), zone.as_deref().unwrap_or_default()),
        DataType::Decimal32(precision, scale) => format!("d:{precision},{scale},32"),
        DataType::Decimal64(precision, scale) => format!("d:{precision},{scale},64"),
        DataType::Decimal128(precision, scale) => format!("d:{precision},{scale}"),
        DataType::Decimal256(precision, scale) => format!("d:{precision},{scale},256"),
        DataType::FixedSizeBinary(size) => format!("w:{size}"),
        DataType::FixedSizeList(_, size) => format!("+w:{size}"),
        DataType::List(_) => "+l".to_owned(),
        DataType::LargeList(_) => "+L".to_owned(),
        DataType::Struct(_) => "+s".to_owned(),
        DataType::Map(..) => "+m".to_owned(),
        other => return Err(format!("of type {}, which does not cross the boundary", quoted(other))),
    })
}

fn letter(unit: TimeUnit) -> char {
    match unit {
        TimeUnit::Second => 's',
        TimeUnit::Millisecond => 'm',
        TimeUnit::Microsecond => 'u',
        TimeUnit::Nanosecond => 'n',
    }
}

fn parse(format: &str, children: Vec<Arc<ArrowField>>) -> Result<DataType, Defect> {
    if let Some((_, plain)) = PLAIN.iter().find(|(known, _)| *known == format) {
        return without(children, plain.clone());
    }
    match format.split_once(':').unwrap_or((format, "")) {
        (stamp, zone) if stamp.starts_with("ts") => without(children, timestamp(stamp, zone, format)?),
        ("d", numbers) => without(children, decimal(numbers).ok_or_else(|| unknown(format))?),
        ("w", size) => without(children, DataType::FixedSizeBinary(size.parse().map_err(|_| unknown(format))?)),
        ("+w", size) => {
            let size = size.parse().map_err(|_| unknown(format))?;
            Ok(DataType::FixedSizeList(only(children)?, size))
        }
        ("+l", "") => Ok(DataType::List(only(children)?)),
        ("+L", "") => Ok(DataType::LargeList(only(children)?)),
        ("+s", "") => Ok(DataType::Struct(Fields::from(children))),
        ("+m", "") => map(only(children)?),
        _ => Err(unknown(format)),
    }
}

fn without(children: Vec<Arc<ArrowField>>, data_type: DataType) -> Result<DataType, Defect> {
    match children.len() {
        0 => Ok(data_type),
        some => Err(format!("of type {}, with {some} children", quoted(&data_type))),
    }
}

fn only(children: Vec<Arc<ArrowField>>) -> Result<Arc<ArrowField>, Defect> {
    <[_; 1]>::try_from(children)
        .map(|[child]| child)
        .map_err(|children| format!("of a type that has one child, with {}", children.len()))
}

fn map(entries: Arc<ArrowField>) -> Result<DataType, Defect> {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 && !entries.is_nullable() && !fields[0].is_nullable() => {
            Ok(DataType::Map(entries, false))
        }
        _ => {
            Err("that is a map, whose child must be a struct of key and value, it and the key not nullable".to_owned())
        }
    }
}

fn timestamp(stamp: &str, zone: &str, format: &str) -> Result<DataType, Defect> {
    let unit = match stamp {
        "tss" => TimeUnit::Second,
        "tsm" => TimeUnit::Millisecond,
        "tsu" => TimeUnit::Microsecond,
        "tsn" => TimeUnit::Nanosecond,
        _ => return Err(unknown(format)),
    };
    Ok(DataType::Timestamp(unit, (!zone.is_empty()).then(|| Arc::from(zone))))
}

/// `precision,scale` or `precision,scale,bits`, within what the width can hold.
fn decimal(numbers: &str) -> Option<DataType> {
    let mut numbers = numbers.split(',');
    let precision: u8 = numbers.next()?.parse().ok()?;
    let scale: i8 = numbers.next()?.parse().ok()?;
    let bits = numbers.next().unwrap_or("128");
    let (make, precision_max): (fn(u8, i8) -> DataType, u8) = match bits {
        "32" => (DataType::Decimal32, 9),
        "64" => (DataType::Decimal64, 18),
        "128" => (DataType::Decimal128, 38),
        "256" => (DataType::Decimal256, 76),
        _ => return None,
    };
    let fits = (1..=precision_max).contains(&precision) && scale.unsigned_abs() <= precision_max;
    (fits && numbers.next().is_none() && scale <= precision.cast_signed()).then(|| make(precision, scale))
}

fn unknown(format: &str) -> Defect {
    format!(
        "of the format {:?}, which is none of the Arrow C data interface that crosses the boundary",
        quoted(&format)
    )
}

fn quoted(text: &impl Display) -> String {
    text.to_string().chars().take(QUOTE_CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> Schema {
        let item = |data_type| Arc::new(ArrowField::new("item", data_type, true));
        let entries = ArrowField::new(
            "entries",
            DataType::Struct(Fields::from(vec![
                ArrowField::new("key", DataType::Utf8, false),
                ArrowField::new("value", DataType::Int64, true),
            ])),
            false,
        );
        let nested = [
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into())),
            DataType::Decimal32(9, 2),
            DataType::Decimal64(18, -2),
            DataType::Decimal128(38, 10),
            DataType::Decimal256(76, 0),
            DataType::FixedSizeBinary(16),
            DataType::FixedSizeList(item(DataType::Float32), 3),
            DataType::List(item(DataType::List(item(DataType::Utf8)))),
            DataType::LargeList(item(DataType::Boolean)),
            DataType::Struct(Fields::from(vec![ArrowField::new("a", DataType::Int8, false)])),
            DataType::Map(Arc::new(entries), false),
        ];
        let types = PLAIN.iter().map(|(_, plain)| plain.clone()).chain(nested);
        let field = |(index, data_type)| ArrowField::new(format!("c{index}"), data_type, index % 2 == 0);
        Schema::new(types.enumerate().map(field).collect::<Vec<_>>())
    }

    #[test]
    fn every_type_comes_back() {
        let schema = every_type();
        assert_eq!(schema_of(&fields_of(&schema).expect("all of them cross")).expect("as they went"), schema);
    }

    #[test]
    fn metadata_comes_along() {
        let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
        let field = ArrowField::new("u", DataType::FixedSizeBinary(16), false).with_metadata(metadata);
        let schema = Schema::new(vec![field]);
        assert_eq!(schema_of(&fields_of(&schema).expect("crosses")).expect("comes back"), schema);
    }

    fn check(fields: &[(&str, u32)], expected: &str) {
        let field = |(format, children): &(&str, u32)| Field {
            name: "c".to_owned(),
            format: (*format).to_owned(),
            nullable: true,
            children: *children,
            metadata: vec![],
        };
        let fields: Vec<Field> = fields.iter().map(field).collect();
        assert_eq!(schema_of(&fields).expect_err("refused"), expected);
    }

    #[test]
    fn what_is_refused() {
        let unknown = "which is none of the Arrow C data interface that crosses the boundary";
        check(&[("", 0)], &format!("has the column `c` of the format \"\", {unknown}"));
        check(&[("vu", 0)], &format!("has the column `c` of the format \"vu\", {unknown}"));
        check(&[("tsx:", 0)], &format!("has the column `c` of the format \"tsx:\", {unknown}"));
        check(&[("d:39,1", 0)], &format!("has the column `c` of the format \"d:39,1\", {unknown}"));
        check(&[("d:3,1,7", 0)], &format!("has the column `c` of the format \"d:3,1,7\", {unknown}"));
        check(&[("w:x", 0)], &format!("has the column `c` of the format \"w:x\", {unknown}"));
        check(&[("w:0", 0)], "has the column `c` of fixed size 0; allowed are 1 to 1048576");
        check(&[("+w:0", 1), ("l", 0)], "has the column `c` of fixed size 0; allowed are 1 to 1048576");
        check(&[("+s", 0)], "has the column `c` with a struct of no fields");
        check(&[("+l", 0)], "has the column `c` of a type that has one child, with 0");
        check(&[("l", 1), ("l", 0)], "has the column `c` of type Int64, with 1 children");
        check(&[("+l", 1)], "has `c` with 1 children and no such fields");
        check(&[("+l", 1), ("n", 0)], "has the column `c` with nulls of no type within another type");
        check(
            &[("+m", 1), ("l", 0)],
            "has the column `c` that is a map, whose child must be a struct of key and value, it and the key not nullable",
        );
        check(&[("+l", 1); 100], "has types within types, more than 32 deep");
        check(&[("+s", u32::MAX)], "has `c` with 4294967295 children and no such fields");
    }

    #[test]
    fn what_does_not_cross() {
        let coded = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        for data_type in [coded, DataType::Utf8View] {
            let schema = Schema::new(vec![ArrowField::new("c", data_type.clone(), true)]);
            let expected = format!("has the column `c` of type {data_type}, which does not cross the boundary");
            assert_eq!(fields_of(&schema).expect_err("refused"), expected);
        }
    }
}
