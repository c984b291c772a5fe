"""Makes the corpus: for each feature a folder `in/<feature>` with one file. What the features are is in `odd.py` and here."""

import datetime as d
import decimal as D
import json
import os
import sys
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

from odd import *

ROOT = sys.argv[1]


def path(name):
    os.makedirs(f"{ROOT}/in/{name}", exist_ok=True)
    return f"{ROOT}/in/{name}/a.parquet"


def raw(name, data):
    open(path(name), "wb").write(data)


def write(name, table, **options):
    pq.write_table(table, path(name), **options)


def column(name, array, **options):
    write(name, pa.table({"id": list(range(len(array))), "v": array}), **options)


A = pa.array
DAY = 86_400_000


def types():
    """Every Arrow type that pyarrow writes."""
    dec = lambda *v: [None if x is None else D.Decimal(x) for x in v]
    made = {
        "null": pa.nulls(3), "bool": A([True, None, False]), "float16": A([1.5, None, 2.5], pa.float16()),
        "float32": A([1.5, None, float("nan")], pa.float32()), "float64": A([1.5, None, float("-inf")]),
        "decimal32": A(dec("1.23", None, "-9.99"), pa.decimal32(5, 2)),
        "decimal64": A(dec("1.23", None, None), pa.decimal64(15, 2)),
        "decimal128": A(dec("1.23", None, "-1"), pa.decimal128(38, 2)),
        "decimal256": A(dec("1.23", None, None), pa.decimal256(76, 2)),
        "date32": A([d.date(2024, 1, 1), None, d.date(1, 1, 1)]), "date64": A([DAY, None, -DAY], pa.date64()),
        "time32_s": A([1, None, 86399], pa.time32("s")), "time32_ms": A([1, None, 2], pa.time32("ms")),
        "time64_us": A([1, None, 2], pa.time64("us")), "time64_ns": A([1, None, 2], pa.time64("ns")),
        "timestamp_s": A([1, None, -5], pa.timestamp("s")), "timestamp_ms": A([1, None, -5], pa.timestamp("ms")),
        "timestamp_ns_zone": A([1, None, 2], pa.timestamp("ns", "Europe/Berlin")),
        "timestamp_us_zone": A([1, None, 2], pa.timestamp("us", "America/New_York")),
        "duration_s": A([1, None, 2], pa.duration("s")), "duration_ns": A([1, None, 2], pa.duration("ns")),
        "string": A(["a", None, "ü"]), "large_string": A(["a", None, ""], pa.large_string()),
        "string_view": A(["a", None, "x" * 50], pa.string_view()), "binary": A([b"\0", None, b""]),
        "large_binary": A([b"\0", None, b""], pa.large_binary()), "binary_view": A([b"a", None, b"x" * 50], pa.binary_view()),
        "fixed_binary": A([b"ab", None, b"cd"], pa.binary(2)),
        "list": A([[1], None, []], pa.list_(pa.int32())), "large_list": A([["q"], None, [None]], pa.large_list(pa.string())),
        "fixed_list": A([[1, 2], [3, 4], [5, None]], pa.list_(pa.float32(), 2)),
        "fixed_list_null": A([[1, 2], None, [5, None]], pa.list_(pa.float32(), 2)),
        "fixed_list_zero": A([[], [], []], pa.list_(pa.int8(), 0)),
        "dictionary_ordered": pa.DictionaryArray.from_arrays(A([0, None, 1], pa.int8()), ["b", "a"], ordered=True),
        "list_view": A([[1], None, [2]], pa.list_view(pa.int32())),
        "map": A([[("a", 1)], None, []], pa.map_(pa.string(), pa.int32())),
        "map_sorted": A([[("a", 1)], None, []], pa.map_(pa.string(), pa.int32(), keys_sorted=True)),
        "struct": A([{"a": 1, "b": None}, None, {"a": None, "b": "x"}], pa.struct([("a", pa.int8()), ("b", pa.string())])),
        "list_of_struct": A([[{"a": 1}], None, [None, {"a": None}]], pa.list_(pa.struct([("a", pa.int8())]))),
        "list_of_null": A([[None], None, []], pa.list_(pa.null())),
        "struct_of_null": A([{"a": None}] * 3, pa.struct([("a", pa.null())])),
        "list_of_view": A([["a" * 20], None, [None]], pa.list_(pa.string_view())),
        "list_of_date64": A([[DAY], None, [None]], pa.list_(pa.date64())),
        "dictionary": A(["a", None, "b"]).dictionary_encode(), "dictionary_of_int": A([7, None, 8]).dictionary_encode(),
        "dictionary_large": pa.DictionaryArray.from_arrays(A([0, None, 1], pa.int8()), A(["b", "a"], pa.large_string())),
        "deep": A([[[[{"k": [["v"]]}]]], None, []],
                  pa.list_(pa.list_(pa.list_(pa.struct([("k", pa.list_(pa.list_(pa.string())))]))))),
    }
    for width in (8, 16, 32, 64):
        made[f"int{width}"] = A([-(2 ** (width - 1)), None, 2 ** (width - 1) - 1], getattr(pa, f"int{width}")())
        made[f"uint{width}"] = A([0, None, 2**width - 1], getattr(pa, f"uint{width}")())
    for name, array in made.items():
        column(f"type_{name}", array)
        column(f"plain_{name}", array, store_schema=False)
    of = pa.dictionary(pa.int32(), pa.string())
    many = A([f"word {i}" for i in range(400)])
    narrow = pa.DictionaryArray.from_arrays(A(list(range(100)) * 4, pa.int8()), many[:100])
    chunks = [pa.DictionaryArray.from_arrays(A(range(100), pa.int8()), many[at:at + 100]) for at in range(0, 400, 100)]
    column("dictionary_narrow", narrow)
    write("dictionary_narrow_groups", pa.table({"id": range(400), "v": pa.chunked_array(chunks)}), row_group_size=100)
    column("type_list_of_dictionary", A([["x", "y"], ["z"]], pa.list_(of)))
    column("type_struct_of_dictionary", A([{"c": "x"}, None], pa.struct([("c", of)])))
    column("type_uuid_in_list", pa.ListArray.from_arrays([0, 1, 1], A([uuid.UUID(int=1).bytes], pa.uuid())))


def metadata():
    features = {"info": {"features": {"id": {"dtype": "int64", "_type": "Value"}, "image": {"_type": "Image"}}}}
    field = pa.field
    schema = pa.schema(
        [field("id", pa.int64(), metadata={"PARQUET:field_id": "17", "comment": "key"}),
         field("image", pa.struct([field("bytes", pa.binary(), metadata={"PARQUET:field_id": "3"}), field("path", pa.string())])),
         field("u", pa.uuid()), field("j", pa.json_()), field("b", pa.bool8()), field("cat", pa.dictionary(pa.int32(), pa.string()))],
        metadata={"huggingface": json.dumps(features), "owner": "me"})
    images = [{"bytes": b"\x89PNG", "path": "a.png"}] * 2
    table = pa.table([A([1, 2]), A(images, schema.field("image").type), A([uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes], pa.uuid()),
                      A(['{"a":1}', "{}"], pa.json_()), pa.ExtensionArray.from_storage(pa.bool8(), A([1, 0], pa.int8())),
                      A(["x", "y"]).dictionary_encode()], schema=schema)
    write("metadata", table)
    write("metadata_without_arrow_schema", table, store_schema=False)
    pandas = {"index_columns": ["doc"], "column_indexes": [], "pandas_version": "2.2.3",
              "columns": [{"name": n, "field_name": n, "pandas_type": t, "numpy_type": t, "metadata": None}
                          for n, t in (("x", "float64"), ("doc", "int64"))]}
    write("pandas_index", pa.table({"x": [1.5, 2.5], "doc": [10, 20]}).replace_schema_metadata({"pandas": json.dumps(pandas)}))
    pandas["index_columns"] = [{"kind": "range", "name": None, "start": 0, "stop": 2, "step": 1}]
    pandas["columns"] = pandas["columns"][:1]
    write("pandas_range", pa.table({"x": [1.5, 2.5]}).replace_schema_metadata({"pandas": json.dumps(pandas)}))


def writers():
    """Options of pyarrow's writer."""
    many = pa.table({"id": range(5000), "s": [f"text {i % 97}" for i in range(5000)], "f": [i / 7 for i in range(5000)],
                     "o": [None if i % 3 else i for i in range(5000)], "l": [[i] * (i % 4) for i in range(5000)]})
    small = dict(data_page_size=2000, write_batch_size=500)
    write("page_v2", many, data_page_version="2.0", **small)
    write("page_v1_many_pages", many, **small)
    write("page_index", many, write_page_index=True, row_group_size=2000, **small)
    write("page_index_v2", many, write_page_index=True, data_page_version="2.0", **small)
    write("page_checksum", many, write_page_checksum=True, **small)
    write("no_statistics", many, write_statistics=False)
    write("no_dictionary", many, use_dictionary=False)
    write("dictionary_overflows", many, dictionary_pagesize_limit=300, **small)
    write("sorting_columns", many, sorting_columns=[pq.SortingColumn(0)])
    write("row_groups_many", many, row_group_size=137)
    write("bloom_filter", many, bloom_filter_options={"id": True, "s": {"ndv": 97}})
    for codec in ("NONE", "SNAPPY", "GZIP", "ZSTD", "LZ4", "BROTLI"):
        write(f"codec_{codec.lower()}", many, compression=codec)
    for name, encoding, of in (("id", "DELTA_BINARY_PACKED", "id"), ("s", "DELTA_BYTE_ARRAY", "s"), ("s", "DELTA_LENGTH_BYTE_ARRAY", "s"),
                               ("f", "BYTE_STREAM_SPLIT", "f"), ("o", "DELTA_BINARY_PACKED", "o"), ("id", "PLAIN", "id")):
        write(f"encoding_{encoding.lower()}_{name}", many.select(list(dict.fromkeys(["id", of]))), use_dictionary=False,
              column_encoding={of: encoding})
    booleans = pa.table({"id": range(100), "b": [None if i % 7 == 0 else i % 3 == 0 for i in range(100)]})
    write("encoding_rle_boolean", booleans, use_dictionary=False, column_encoding={"b": "RLE"}, data_page_version="2.0")
    write("zero_rows", many.slice(0, 0))
    write("zero_row_groups", pa.table({"id": A([], pa.int64())}))
    write("not_null", pa.table([A([1, 2])], schema=pa.schema([pa.field("id", pa.int64(), nullable=False)])))
    write("version_1", many.select(["id", "s"]), version="1.0")
    write("decimal_as_integer", pa.table({"id": [1, 2], "v": A([D.Decimal("1.25"), None], pa.decimal128(9, 2))}),
          store_decimal_as_integer=True)
    write("names", pa.table([A([i]) for i in range(9)], names=["id", "a.b", "a/b", "Ä", 'x"y', "nl\n", "{z}", "ID", " "]))
    write("names_nested", pa.table({"id": [1], "a.b": A([{"c.d": 1}], pa.struct([("c.d", pa.int64())]))}))
    write("nan_statistics", pa.table({"id": [1, 2], "f": [float("nan"), -0.0]}))
    far = A([d.datetime(2006, 1, 2, 7, 4, 5), d.datetime(9999, 12, 31, 2), d.datetime(1, 1, 1), None], pa.timestamp("us"))
    write("int96", pa.table({"id": range(4), "ts": far}), use_deprecated_int96_timestamps=True, store_schema=False)
    write("int96_arrow_schema", pa.table({"id": range(4), "ts": far}), use_deprecated_int96_timestamps=True)
    near = A([d.datetime(2006, 1, 2), None], pa.timestamp("ns"))
    write("int96_ns", pa.table({"id": [0, 1], "ts": near}), use_deprecated_int96_timestamps=True)
    within = A([[far[0], far[1]], None, [None]], pa.list_(pa.timestamp("us")))
    write("int96_in_list", pa.table({"id": range(3), "ts": within}), use_deprecated_int96_timestamps=True, store_schema=False)


def old():
    """What older writers made: types, lists and maps of before there were rules."""
    raw("old_utf8", one("v", BYTE_ARRAY, strings("a", "ü"), 2, converted=UTF8))
    raw("old_enum", one("v", BYTE_ARRAY, strings("RED", "BLUE"), 2, converted=ENUM))
    raw("old_json", one("v", BYTE_ARRAY, strings("{}", "[1]"), 2, converted=JSON))
    raw("old_bson", one("v", BYTE_ARRAY, strings(b"\x05\0\0\0\0", b"\x05\0\0\0\0"), 2, converted=BSON))
    raw("old_date", one("v", INT32, int32s(-719162, 1), 2, converted=DATE))
    raw("old_time_millis", one("v", INT32, int32s(0, 86399999), 2, converted=TIME_MILLIS))
    raw("old_time_micros", one("v", INT64, int64s(0, 1), 2, converted=TIME_MICROS))
    raw("old_timestamp_millis", one("v", INT64, int64s(-1, 1), 2, converted=TS_MILLIS))
    raw("old_timestamp_micros", one("v", INT64, int64s(-1, 1), 2, converted=TS_MICROS))
    for name, type, converted in (("uint8", INT32, UINT_8), ("uint16", INT32, UINT_16), ("uint32", INT32, UINT_32), ("int8", INT32, INT_8),
                                  ("int16", INT32, INT_16)):
        raw(f"old_{name}", one("v", type, int32s(1, 7), 2, converted=converted))
    raw("old_uint64", one("v", INT64, int64s(-1, 7), 2, converted=UINT_64))
    raw("old_int32", one("v", INT32, int32s(1, 7), 2, converted=INT_32))
    decimal = dict(converted=DECIMAL, scale=2, precision=4)
    raw("old_decimal_int32", one("v", INT32, int32s(-123, 1), 2, **decimal))
    raw("old_decimal_int64", one("v", INT64, int64s(-123, 1), 2, **decimal))
    raw("old_decimal_fixed", one("v", FIXED, b"\xff\x85\0\1", 2, length=2, **decimal))
    raw("old_decimal_bytes", one("v", BYTE_ARRAY, strings(b"\x85", b"\0\1"), 2, **decimal))
    raw("old_interval", one("v", FIXED, int32s(1, -2, 5, 0, 0, 0), 2, length=12, converted=INTERVAL))
    raw("old_int96_finer", one("v", INT96, int96(0, 1) + int96(-1, 0), 2))
    raw("old_int96_far", one("v", INT96, int96(105_190_000, 0) + int96(2932896, 1000), 2))
    raw("old_int96_beyond", one("v", INT96, int96(0, 0) + int96(2**31 - 2440589, 0), 2))


def nested():
    def lists(name, schema, path, max_def, defs=None):
        data = page(int32s(1, 2, 3), 3, defs or [max_def] * 3, [0, 1, 0], max_def, 1)
        raw(name, file(schema, [(2, [chunk(INT32, path, 3, [data])])]))

    item = lambda name, rep=OPTIONAL: leaf(name, INT32, rep)
    lists("list_three_levels", group("v", [group("list", [item("element")], REPEATED)], converted=LIST), ["v", "list", "element"], 3)
    lists("list_odd_names", group("v", [group("bag", [item("array_element")], REPEATED)], converted=LIST), ["v", "bag", "array_element"], 3)
    lists("list_two_levels", group("v", [item("array", REPEATED)], converted=LIST), ["v", "array"], 2)
    lists("list_required_two_levels", group("v", [item("array", REPEATED)], REQUIRED, converted=LIST), ["v", "array"], 1)
    lists("list_array_is_struct", group("v", [group("array", [item("x", REQUIRED)], REPEATED)], converted=LIST), ["v", "array", "x"], 2)
    lists("list_tuple_is_struct", group("v", [group("v_tuple", [item("x")], REPEATED)], converted=LIST), ["v", "v_tuple", "x"], 3)
    lists("repeated_without_list", item("v", REPEATED), ["v"], 1)
    lists("repeated_group_without_list", group("v", [item("x")], REPEATED), ["v", "x"], 2)
    lists("repeated_in_struct", group("v", [item("x", REPEATED)]), ["v", "x"], 2)
    lists("map_without_value", group("v", [group("key_value", [item("key", REQUIRED)], REPEATED)], converted=MAP), ["v", "key_value", "key"], 2)

    def maps(name, converted, key_rep, inner="key_value", inner_type=None):
        key_level = 2 if key_rep == REQUIRED else 3
        schema = group("v", [group(inner, [leaf("key", BYTE_ARRAY, key_rep, converted=UTF8), item("value")], REPEATED, converted=inner_type)],
                       converted=converted)
        keys = chunk(BYTE_ARRAY, ["v", inner, "key"], 3, [page(strings("a", "b", "c"), 3, [key_level] * 3, [0, 1, 0], key_level, 1)])
        values = chunk(INT32, ["v", inner, "value"], 3, [page(int32s(1, 2), 3, [3, 2, 3], [0, 1, 0], 3, 1)])
        raw(name, file(schema, [(2, [keys, values])]))

    maps("map", MAP, REQUIRED)
    maps("map_of_old_kind", MAP_KEY_VALUE, REQUIRED, "map")
    maps("map_of_both_kinds", MAP, REQUIRED, "map", MAP_KEY_VALUE)
    maps("map_keys_optional", MAP, OPTIONAL)


def logicals():
    raw("logical_enum", one("v", BYTE_ARRAY, strings("RED", "BLUE"), 2, converted=ENUM, logical=logical(4)))
    raw("logical_bson", one("v", BYTE_ARRAY, strings(b"\x05\0\0\0\0", b"\x05\0\0\0\0"), 2, converted=BSON, logical=logical(13)))
    raw("logical_json", one("v", BYTE_ARRAY, strings("{}", "[]"), 2, converted=JSON, logical=logical(12)))
    raw("logical_uuid", one("v", FIXED, bytes(16) + b"0123456789abcdef", 2, length=16, logical=logical(14)))
    for unit, type, values in (("ms", INT32, int32s(0, 1)), ("us", INT64, int64s(0, 1)), ("ns", INT64, int64s(0, 1))):
        for utc in (True, False):
            raw(f"logical_time_{unit}_{'utc' if utc else 'local'}",
                one("v", type, values, 2, logical=logical(7, {1: boolean(utc), 2: time_unit(unit)})))
            if unit != "ms":
                raw(f"logical_timestamp_{unit}_{'utc' if utc else 'local'}",
                    one("v", type, values, 2, logical=logical(8, {1: boolean(utc), 2: time_unit(unit)})))
    raw("logical_unknown", one("v", BYTE_ARRAY, strings("a", "b"), 2, logical=logical(2555)))
    point = struct.pack("<BIdd", 1, 1, 10.0, 20.0)
    raw("logical_geometry", one("v", BYTE_ARRAY, strings(point, point), 2, logical=logical(17)))
    raw("logical_geometry_crs", one("v", BYTE_ARRAY, strings(point, point), 2, logical=logical(17, {1: text("srid:5070")})))
    raw("logical_geography", one("v", BYTE_ARRAY, strings(point, point), 2, logical=logical(18, {2: i32(4)})))
    schema = group("v", [leaf("metadata", BYTE_ARRAY, REQUIRED), leaf("value", BYTE_ARRAY, REQUIRED)], logical=logical(16))
    parts = [chunk(BYTE_ARRAY, ["v", part], 1, [page(strings(data), 1, [1], max_def=1)])
             for part, data in (("metadata", b"\1\0\0"), ("value", b"\x0c\7"))]
    raw("logical_variant", file(schema, [(1, parts)]))
    ids = leaf("a", INT32, REQUIRED, id=5) + group("s", [leaf("b", INT32, REQUIRED, id=7)], REQUIRED, id=6)
    parts = [chunk(INT32, ["a"], 2, [page(int32s(1, 2), 2)]), chunk(INT32, ["s", "b"], 2, [page(int32s(3, 4), 2)])]
    raw("field_ids", file(ids, [(2, parts)], keys={"owner": "me", "empty": ""}))


def pages():
    ids = leaf("v", INT32, REQUIRED)
    plain = lambda *values: page(int32s(*values), len(values))

    def ints(name, pages, values=None, rows=4, **more):
        raw(name, file(ids, [(rows, [chunk(INT32, ["v"], values or rows, pages, **more)])]))

    ints("page_empty", [plain(1, 2), plain(), plain(3, 4)])
    ints("page_v2_empty", [page2(int32s(1, 2), 2, 2), page2(b"", 0, 0), page2(int32s(3, 4), 2, 2)])
    nulls = [(4, [chunk(INT32, ["v"], 4, [page(b"", 2, [0, 0], max_def=1), page(int32s(3, 4), 2, [1, 1], max_def=1)])])]
    raw("page_all_null", file(leaf("v", INT32), nulls))
    v2 = [page2(b"", 2, 2, 2, defs=[0, 0], max_def=1, pack=gzip), page2(int32s(3, 4), 2, 2, 0, defs=[1, 1], max_def=1, pack=gzip)]
    raw("page_v2_all_null_compressed", file(leaf("v", INT32), [(4, [chunk(INT32, ["v"], 4, v2, codec=GZIP)])]))
    v2 = [page2(b"", 2, 2, 2, defs=[0, 0], max_def=1), page2(int32s(3, 4), 2, 2, 0, defs=[1, 1], max_def=1, pack=gzip)]
    raw("page_v2_empty_compressed", file(leaf("v", INT32), [(4, [chunk(INT32, ["v"], 4, v2, codec=GZIP)])]))
    ints("page_v2_not_compressed", [page2(int32s(1, 2, 3, 4), 4, 4, is_compressed=False)], codec=GZIP)
    ints("page_v2_compressed", [page2(int32s(1, 2, 3, 4), 4, 4, pack=gzip)], codec=GZIP)
    ints("page_gzip_members", [page(int32s(1, 2, 3, 4), 4, pack=lambda data: gzip(data[:6]) + gzip(data[6:]))], codec=GZIP)
    ints("page_checksum_wrong", [page(int32s(1, 2, 3, 4), 4, crc=7)])
    snappy = lambda data: pa.compress(data, "snappy", asbytes=True)
    ints("page_snappy", [page(int32s(1, 2, 3, 4), 4, pack=snappy)], codec=SNAPPY)
    lz4 = lambda data: pa.compress(data, "lz4_raw", asbytes=True)
    hadoop = lambda data: struct.pack(">II", len(data), len(lz4(data))) + lz4(data)
    ints("page_lz4_hadoop", [page(int32s(1, 2, 3, 4), 4, pack=hadoop)], codec=LZ4)
    ints("page_lz4_not_hadoop", [page(int32s(1, 2, 3, 4), 4, pack=lz4)], codec=LZ4)
    coded = dict(encodings=(PLAIN_DICTIONARY, RLE))
    indexes = lambda encoding: page(b"\1" + runs([0, 1, 1, 0], 1), 4, encoding=encoding)
    words = dictionary(int32s(7, 8), 2)
    ints("dictionary", [indexes(RLE_DICTIONARY)], dictionary=words)
    ints("dictionary_old_encoding", [indexes(PLAIN_DICTIONARY)], dictionary=dictionary(int32s(7, 8), 2, PLAIN_DICTIONARY), **coded)
    ints("dictionary_unused", [plain(1, 2, 3, 4)], dictionary=words)
    ints("dictionary_offset_none", [indexes(PLAIN_DICTIONARY)], dictionary=words, dictionary_offset=lambda at: None,
         data_offset=lambda at, base: base, **coded)
    ints("dictionary_offset_zero", [plain(1, 2, 3, 4)], dictionary_offset=lambda at: 0)
    ints("dictionary_offset_zero_and_dictionary", [indexes(PLAIN_DICTIONARY)], dictionary=words, dictionary_offset=lambda at: 0,
         data_offset=lambda at, base: base, **coded)
    old = page(int32s(3), 4, [0, 0, 1, 0], max_def=1, level_encoding=BIT_PACKED)
    raw("levels_bit_packed", file(leaf("v", INT32), [(4, [chunk(INT32, ["v"], 4, [old])])]))
    ints("row_group_empty", [plain(1, 2, 3, 4)])
    empty, full = chunk(INT32, ["v"], 0, []), chunk(INT32, ["v"], 2, [plain(1, 2)])
    raw("row_group_empty", file(ids, [(0, [empty]), (2, [full]), (0, [chunk(INT32, ["v"], 0, [plain()])])]))
    statistics = lambda **values: record({int(k[1:]): v for k, v in values.items()})
    ints("statistics_old", [plain(1, 2, 3, 4)], statistics=statistics(_1=text(int32s(4)), _2=text(int32s(1))))
    ints("statistics_odd", [plain(1, 2, 3, 4)], statistics=statistics(_3=i64(2), _5=text(int32s(-9)), _6=text(int32s(9))))
    ints("statistics_short", [plain(1, 2, 3, 4)], statistics=statistics(_3=i64(0), _5=text(b"\1"), _6=text(b"")))


def page_indexes():
    """Offset indexes that lie: the pages are right, and read."""
    numbers = list(range(100))
    parts = [page(int32s(*numbers[at:at + 10]), 10) for at in range(0, 100, 10)]
    right = lambda places: [(at, size, 10 * page) for page, (at, size) in enumerate(places)]

    def indexed(name, change):
        data = chunk(INT32, ["v"], 100, parts, index=lambda places: change(right(places)))
        raw(name, file(leaf("v", INT32, REQUIRED), [(100, [data])]))

    raw("logical_int", one("v", INT32, int32s(1, 2), 2, converted=INT_32, logical=logical(10, {1: (3, b"\x20"), 2: boolean(True)})))
    indexed("index_right", lambda pages: pages)
    indexed("index_rows_lie", lambda pages: [(at, size, row + (3 if row else 0)) for at, size, row in pages])
    indexed("index_offsets_lie", lambda pages: [(at + 1, size, row) for at, size, row in pages])
    indexed("index_offsets_far", lambda pages: [(at + 10**9, size, row) for at, size, row in pages])
    indexed("index_pages_missing", lambda pages: pages[:5])
    indexed("index_begins_late", lambda pages: pages[1:])
    indexed("index_sizes_lie", lambda pages: [(at, size - 7, row) for at, size, row in pages])
    indexed("index_empty", lambda pages: [])
    indexed("index_swapped", lambda pages: [pages[1], pages[0], *pages[2:]])
    indexed("index_twice", lambda pages: [pages[0]] * 10)
    words = dictionary(int32s(7, 8), 2)
    indexes = [page(b"\1" + runs([0, 1], 1), 2, encoding=PLAIN_DICTIONARY)] * 2
    data = chunk(INT32, ["v"], 4, indexes, dictionary=words, dictionary_offset=lambda at: 0, data_offset=lambda at, base: base,
                 encodings=(PLAIN_DICTIONARY, RLE), index=lambda places: [(at, size, 2 * n) for n, (at, size) in enumerate(places)])
    raw("index_dictionary_offset_zero", file(leaf("v", INT32, REQUIRED), [(4, [data])]))


def resumes():
    """Folders `resume/<column>_<lie>`: in pages of ten rows `n` up to 100, and `v` with 1000 + n, whose offset index lies. Most
    lies are of pages before that of row 57 alone, or of none that has it: who reads that row alone sees nothing wrong there."""
    later = lambda pages, rows: [(at, size, row + rows) for at, size, row in pages]
    lies = {
        "right": lambda pages: pages,
        "next": lambda pages: [(at, size, row + (3 if row == 60 else 0)) for at, size, row in pages],
        "shifted": lambda pages: pages[:1] + later(pages[1:], 3),
        "shifted_before": lambda pages: pages[:1] + later(pages[1:5], 3) + pages[5:],
        "first_missing": lambda pages: later(pages[1:], -10),
        "second_missing": lambda pages: pages[:1] + later(pages[2:], -10),
        "second_within_first": lambda pages: [(pages[0][0], pages[0][1] + pages[1][1], 0), *later(pages[2:], -10)],
    }
    tens = [range(at, at + 10) for at in range(0, 100, 10)]
    of = lambda ten: int64s(*(1000 + n for n in ten))
    pairs = lambda ten: int64s(*(value for n in ten for value in (n, 1000 + n)))
    levels = dict(defs=[1] * 20, reps=[0, 1] * 10, max_def=1, max_rep=1)
    flat = leaf("v", INT64, REQUIRED)
    lists = group("v", [group("list", [leaf("element", INT64, REQUIRED)], REPEATED)], REQUIRED, converted=LIST)
    coded = [page(b"\7" + runs(ten, 7), 10, encoding=RLE_DICTIONARY) for ten in tens]
    words = dict(dictionary=dictionary(of(range(100)), 100), encodings=(RLE_DICTIONARY, PLAIN, RLE))
    in_lists = ["v", "list", "element"]
    columns = {
        "flat": (flat, lambda index: chunk(INT64, ["v"], 100, [page(of(ten), 10) for ten in tens], index=index)),
        "flat_v2": (flat, lambda index: chunk(INT64, ["v"], 100, [page2(of(ten), 10, 10) for ten in tens], index=index)),
        "coded": (flat, lambda index: chunk(INT64, ["v"], 100, coded, index=index, **words)),
        "lists": (lists, lambda index: chunk(INT64, in_lists, 200, [page(pairs(ten), 20, **levels) for ten in tens], index=index)),
        "lists_v2": (lists, lambda index: chunk(INT64, in_lists, 200, [page2(pairs(ten), 20, 10, **levels) for ten in tens],
                                                index=index)),
    }
    rows = lambda places: [(at, size, 10 * number) for number, (at, size) in enumerate(places)]
    for column, (schema, values_of) in columns.items():
        for lie, change in lies.items():
            numbers = chunk(INT64, ["n"], 100, [page(int64s(*ten), 10) for ten in tens], index=rows)
            values = values_of(lambda places: change(rows(places)))
            os.makedirs(f"{ROOT}/resume/{column}_{lie}")
            with open(f"{ROOT}/resume/{column}_{lie}/a.parquet", "wb") as out:
                out.write(file(leaf("n", INT64, REQUIRED) + schema, [(100, [numbers, values])]))


def wrong():
    """What cannot be read, by the right name."""
    ids = leaf("v", INT32, REQUIRED)
    good = [(2, [chunk(INT32, ["v"], 2, [page(int32s(1, 2), 2)])])]
    whole = file(ids, good)
    raw("wrong_codec_lzo", file(ids, [(2, [chunk(INT32, ["v"], 2, [page(int32s(1, 2), 2)], codec=LZO)])]))
    raw("wrong_encrypted_footer", whole[:-4].replace(b"PAR1", b"PARE", 1) + b"PARE")
    raw("wrong_encrypted_columns", file(ids, good, extra={8: record({1: record({})})}))
    raw("wrong_cut", whole[:-20])
    raw("wrong_empty", b"")
    raw("wrong_rows", file(ids, good, rows=3))
    raw("wrong_fewer_values", file(ids, [(3, [chunk(INT32, ["v"], 3, [page(int32s(1, 2), 2)])])]))
    raw("wrong_offset_far", file(ids, [(2, [chunk(INT32, ["v"], 2, [page(int32s(1, 2), 2)], data_offset=lambda at, base: at + 10**6)])]))
    raw("wrong_size_far", file(ids, [(2, [chunk(INT32, ["v"], 2, [page(int32s(1, 2), 2)], size=10**6)])]))
    raw("wrong_page_header", file(ids, [(2, [chunk(INT32, ["v"], 2, [b"\xff" * 40])])]))
    raw("wrong_page_size", file(ids, [(2, [chunk(INT32, ["v"], 2, [page(int32s(1), 2)])])]))
    words = dictionary(int32s(7), 1)
    coded = page(b"\1" + runs([0, 1], 1), 2, encoding=RLE_DICTIONARY)
    raw("wrong_dictionary_index", file(ids, [(2, [chunk(INT32, ["v"], 2, [coded], dictionary=words)])]))
    raw("wrong_dictionary_missing", file(ids, [(2, [chunk(INT32, ["v"], 2, [coded])])]))
    raw("wrong_footer_length", whole[:-8] + struct.pack("<I", 10**6) + b"PAR1")
    raw("wrong_footer_garbage", b"PAR1" + b"\xfe" * 50 + struct.pack("<I", 50) + b"PAR1")
    raw("is_json_lines", b'{"id": 1}\n{"id": 2}\n' * 3)
    raw("is_csv", b"id,text\n1,a\n2,b\n")
    raw("is_gzip", gzip(b'{"id": 1}\n'))
    raw("is_avro", b"Obj\1" + bytes(40))
    raw("is_orc", b"ORC" + bytes(40))
    with pa.OSFile(path("is_arrow_file"), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("id", pa.int64())])):
        pass
    with pa.OSFile(path("is_arrow_stream"), "wb") as sink, pa.ipc.new_stream(sink, pa.schema([("id", pa.int64())])):
        pass


for make in (types, metadata, writers, old, nested, logicals, pages, page_indexes, resumes, wrong):
    make()
print("\n".join(sorted(os.listdir(f"{ROOT}/in"))))
