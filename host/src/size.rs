//! Sizes in bytes, as people write them: in pipeline files, and in the environment.

/// The units of sizes, and their bytes.
const UNITS: [(&str, u64); 6] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

/// The bytes of `512 MiB`, or what to do about what is written.
pub fn bytes(written: &str) -> Result<u64, String> {
    let form =
        "write a whole number and a unit, as in \"512 MiB\"; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)";
    let digits_end = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
    let (digits, unit) = written.split_at(digits_end);
    let unit = unit.trim();
    if digits.is_empty() {
        return Err(form.to_owned());
    }
    let Some(&(_, unit_bytes)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        let meant = UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit));
        return Err(meant.map_or(form.to_owned(), |(known, _)| format!("did you mean \"{digits} {known}\"?")));
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_bytes)) {
        Some(0) => Err("it must be more than 0".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(format!("it must be less than {} bytes", u64::MAX)),
    }
}

/// What `bytes` takes, as a regular expression that JSON Schema knows.
pub const PATTERN: &str = r"^0*[1-9][0-9]*\s*(KiB|MiB|GiB|KB|MB|GB)\s*$";

/// `512 MiB`: a size in the largest unit of 1024 that holds it exactly.
pub fn written(bytes: u64) -> String {
    let binary = UNITS[..3].iter().rev().find(|(_, unit_bytes)| bytes.is_multiple_of(*unit_bytes));
    binary.map_or_else(|| bytes.to_string(), |(unit, unit_bytes)| format!("{} {unit}", bytes / unit_bytes))
}

/// The same of what stands in the environment, where a number may stand alone.
pub fn of_environment(written: &str) -> Result<u64, String> {
    written.parse().ok().filter(|bytes| *bytes > 0).map_or_else(|| bytes(written), Ok)
}

#[cfg(test)]
mod tests {
    use super::{bytes, written};

    #[test]
    fn what_is_written_is_read() {
        for (size, text) in [(1 << 10, "1 KiB"), (1 << 20, "1 MiB"), (3 << 29, "1536 MiB"), (4 << 30, "4 GiB")] {
            assert_eq!((written(size).as_str(), bytes(text)), (text, Ok(size)));
        }
        assert_eq!(written(1000), "1000");
    }
}
