"""The peers' side of `cargo xtask bench formats`: what others need to turn JSON Lines into Parquet and back.

    formats.py duckdb|polars|pyarrow to-parquet|to-jsonl --source FILE --out FILE
    formats.py compare --source FILE --out GLOB

Each knows the columns and their types beforehand, streams, and uses all cores; zstd at level 1 within Parquet, at level 3 (which DuckDB takes) around JSON Lines.
`compare` reads both with DuckDB, and fails unless they hold the same rows, value by value.
"""

import argparse
import sys

ROW_GROUP_ROWS = 32768
LEVEL = 1
LINES_LEVEL = 3

# Name, DuckDB's type.
COLUMNS = {
    "id": "VARCHAR",
    "url": "VARCHAR",
    "text": "VARCHAR",
    "language": "VARCHAR",
    "language_score": "DOUBLE",
    "date": "TIMESTAMP WITH TIME ZONE",
    "source": "VARCHAR",
    "tokens": "BIGINT",
    "quality": "STRUCT(edu DOUBLE, spam DOUBLE)",
    "tags": "VARCHAR[]",
    "meta": "STRUCT(status BIGINT, mime VARCHAR, hops BIGINT[])",
    "duplicate": "BOOLEAN",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["duckdb", "polars", "pyarrow", "compare"])
    parser.add_argument("direction", nargs="?", choices=["to-parquet", "to-jsonl"])
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    jobs = {"duckdb": duckdb_job, "polars": polars_job, "pyarrow": pyarrow_job, "compare": compare}
    jobs[options.peer](options)


def rows_of(path):
    """A table function of DuckDB."""
    if path.endswith(".parquet"):
        return f"read_parquet('{path}')"
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
    return f"read_json('{path}', format = 'newline_delimited', columns = {{{columns}}})"


def duckdb_job(options):
    import duckdb

    duckdb.sql("SET preserve_insertion_order = false; SET enable_progress_bar = false; SET TimeZone = 'UTC'")
    how = {
        "to-parquet": f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {LEVEL}, ROW_GROUP_SIZE {ROW_GROUP_ROWS}",
        "to-jsonl": "FORMAT json, COMPRESSION zstd",
    }
    duckdb.sql(f"COPY (FROM {rows_of(options.source)}) TO '{options.out}' ({how[options.direction]})")


def polars_job(options):
    import polars

    types = {
        "language_score": polars.Float64,
        "date": polars.Datetime("us", "UTC"),
        "tokens": polars.Int64,
        "quality": polars.Struct({"edu": polars.Float64, "spam": polars.Float64}),
        "tags": polars.List(polars.String),
        "meta": polars.Struct({"status": polars.Int64, "mime": polars.String, "hops": polars.List(polars.Int64)}),
        "duplicate": polars.Boolean,
    }
    if options.direction == "to-parquet":
        schema = {name: types.get(name, polars.String) for name in COLUMNS}
        # Its reader has no time zones in JSON.
        schema["date"] = polars.String
        rows = polars.scan_ndjson(options.source, schema=schema)
        rows = rows.with_columns(polars.col("date").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"))
        rows.sink_parquet(
            options.out, compression="zstd", compression_level=LEVEL, row_group_size=ROW_GROUP_ROWS, maintain_order=False
        )
    else:
        polars.scan_parquet(options.source).sink_ndjson(
            options.out, compression="zstd", compression_level=LINES_LEVEL, maintain_order=False
        )


def pyarrow_job(options):
    import pyarrow
    import pyarrow.json
    import pyarrow.parquet

    text, number = pyarrow.string(), pyarrow.float64()
    hops = pyarrow.list_(pyarrow.int64())
    types = {
        "language_score": number,
        "date": pyarrow.timestamp("us", "UTC"),
        "tokens": pyarrow.int64(),
        "quality": pyarrow.struct({"edu": number, "spam": number}),
        "tags": pyarrow.list_(text),
        "meta": pyarrow.struct({"status": pyarrow.int64(), "mime": text, "hops": hops}),
        "duplicate": pyarrow.bool_(),
    }
    schema = pyarrow.schema({name: types.get(name, text) for name in COLUMNS})
    parse = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    read = pyarrow.json.ReadOptions(use_threads=True, block_size=16 << 20)
    reader = pyarrow.json.open_json(options.source, read_options=read, parse_options=parse)
    writer = pyarrow.parquet.ParquetWriter(options.out, schema, compression="zstd", compression_level=LEVEL)
    with reader, writer:
        for batch in reader:
            writer.write_batch(batch, row_group_size=ROW_GROUP_ROWS)


def compare(options):
    import duckdb

    duckdb.sql("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
    sums = ", ".join(f"sum(hash(id, {name})::HUGEINT)" for name in COLUMNS)
    of = lambda path: duckdb.sql(f"SELECT count(*), {sums} FROM {rows_of(path)}").fetchall()[0]
    wanted, found = of(options.source), of(options.out)
    if wanted != found:
        names = ["the number of rows", *COLUMNS]
        wrong = [name for name, a, b in zip(names, wanted, found) if a != b]
        sys.exit(f"{options.out} differs from {options.source} in {', '.join(wrong)}")
    print(f"{wanted[0]} rows, the same in both")


if __name__ == "__main__":
    main()
