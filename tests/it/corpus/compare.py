"""Compares each `in/<feature>` with what was written to `out/<feature>`: a line for each, `feature<TAB>verdict`. Verdicts are
"same", what differs, "refused" (there is no output) and "neither reads it"."""

import glob
import math
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = sys.argv[1]


def plain(value):
    """NaN is equal to itself here."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def values(array):
    storage = array.cast(array.type.storage_type) if isinstance(array.type, pa.ExtensionType) else array
    try:
        return plain(storage.to_pylist())
    except (ValueError, OverflowError):
        return storage.cast(pa.int64()).to_pylist()


def in_order(table, column):
    """Row groups are written in any order."""
    found = values(column)
    if "id" not in table.column_names:
        return found
    ids = table["id"].to_pylist()
    return [found[row] for row in sorted(range(len(ids)), key=ids.__getitem__)]


def metadata(of):
    return {key.decode(): value.decode() for key, value in (of.metadata or {}).items()}


def logicals(schema):
    leaves = (schema.column(i) for i in range(len(schema)))
    told = lambda leaf: str(leaf.logical_type).split(", is_from_converted_type")[0]
    return [(leaf.physical_type, told(leaf)) for leaf in leaves]


def differences(before, after, old, new):
    """`old` and `new` are the Parquet schemas."""
    if before.column_names != after.column_names:
        return f"columns {after.column_names}"
    found = []
    for name, a, b in zip(before.column_names, before.columns, after.columns):
        f, g = before.schema.field(name), after.schema.field(name)
        if f.type != g.type:
            found.append(f"`{name}` {f.type} became {g.type}")
        elif metadata(f) != metadata(g):
            found.append(f"`{name}` metadata {metadata(f)} became {metadata(g)}")
        elif in_order(before, a) != in_order(after, b):
            found.append(f"`{name}` has other values")
    if metadata(before.schema) != metadata(after.schema):
        found.append(f"metadata {metadata(before.schema)} became {metadata(after.schema)}")
    kinds = [(a, b) for a, b in zip(logicals(old), logicals(new)) if a[1] != b[1] and a[0] != "INT96"]
    found += [f"{a} became {b}" for a, b in kinds]
    return "; ".join(found)


def verdict(name):
    try:
        file = f"{ROOT}/in/{name}/a.parquet"
        # Where the file does not say the unit.
        unit = "us" if "int96" in name and name != "int96_ns" else None
        before, old = pq.read_table(file, coerce_int96_timestamp_unit=unit), pq.ParquetFile(file).schema
        before.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        before, why = None, str(error).splitlines()[0][:90]
    files = sorted(glob.glob(f"{ROOT}/out/{name}/*.parquet"))
    if not os.path.exists(f"{ROOT}/out/{name}/finished"):
        return "refused" if before is not None else "neither reads it"
    if before is None:
        return f"read here alone: {why}"
    if not files:
        return "same" if before.num_rows == 0 else "no output"
    after = pa.concat_tables([pq.read_table(file) for file in files])
    return differences(before, after, old, pq.ParquetFile(files[0]).schema) or "same"


for name in sorted(os.listdir(f"{ROOT}/in")):
    print(f"{name}\t{verdict(name)}")
