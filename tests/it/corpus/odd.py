"""Writes Parquet files by hand, byte by byte: what old and other writers made, and what is wrong in one place.

A file is a schema (a list of elements, depth first, without the root) and row groups (rows, column chunks). A chunk is made
of pages; levels are given as lists.
"""

import struct
import zlib

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
REQUIRED, OPTIONAL, REPEATED = range(3)
UTF8, MAP, MAP_KEY_VALUE, LIST, ENUM, DECIMAL, DATE, TIME_MILLIS, TIME_MICROS, TS_MILLIS, TS_MICROS = range(11)
UINT_8, UINT_16, UINT_32, UINT_64, INT_8, INT_16, INT_32, INT_64, JSON, BSON, INTERVAL = range(11, 22)
PLAIN, _, PLAIN_DICTIONARY, RLE, BIT_PACKED = range(5)
RLE_DICTIONARY = 8
NONE, SNAPPY, GZIP, LZO, BROTLI, LZ4 = range(6)


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def zigzag(n):
    return varint((n << 1) ^ (n >> 63) if n < 0 else n << 1)


def i32(n):
    return 5, zigzag(n)


def i64(n):
    return 6, zigzag(n)


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return 8, varint(len(value)) + value


def boolean(value):
    return (1 if value else 2), b""


def many(kind, values):
    header = bytes([len(values) << 4 | kind]) if len(values) < 15 else bytes([0xF0 | kind]) + varint(len(values))
    return 9, header + b"".join(value[1] for value in values)


def record(fields):
    out, last = b"", 0
    for number, value in sorted(fields.items()):
        if value is None:
            continue
        kind, data = value
        delta = number - last
        out += bytes([delta << 4 | kind]) if 0 < delta < 16 else bytes([kind]) + zigzag(number)
        out, last = out + data, number
    return 12, out + b"\0"


def element(name, rep=OPTIONAL, type=None, length=None, children=None, converted=None, scale=None, precision=None, id=None,
            logical=None):
    number = lambda n: None if n is None else i32(n)
    return record({1: number(type), 2: number(length), 3: number(rep), 4: text(name), 5: number(children),
                   6: number(converted), 7: number(scale), 8: number(precision), 9: number(id), 10: logical})


def logical(number, fields=None):
    return record({number: record(fields or {})})


def time_unit(name):
    return record({{"ms": 1, "us": 2, "ns": 3}[name]: record({})})


def runs(levels, width):
    """Levels as runs of one value, each in whole bytes."""
    out, i = b"", 0
    while i < len(levels):
        j = i
        while j < len(levels) and levels[j] == levels[i]:
            j += 1
        out += varint((j - i) << 1) + levels[i].to_bytes((width + 7) // 8 or 1, "little")
        i = j
    return out


def sized(data):
    return struct.pack("<I", len(data)) + data


def width(level):
    return level.bit_length()


def header(kind, plain, packed, fields, crc=None):
    return record({1: i32(kind), 2: i32(plain), 3: i32(packed), 4: None if crc is None else i32(crc), **fields})[1]


def page(values, count, defs=None, reps=None, max_def=0, max_rep=0, encoding=PLAIN, pack=bytes, crc=None,
         level_encoding=RLE):
    """A data page of the first version."""
    levels = b""
    if level_encoding == BIT_PACKED:
        levels = bits(defs, width(max_def)) if max_def else b""
    else:
        levels += sized(runs(reps, width(max_rep))) if max_rep else b""
        levels += sized(runs(defs, width(max_def))) if max_def else b""
    plain = levels + values
    packed = pack(plain)
    data = record({1: i32(count), 2: i32(encoding), 3: i32(level_encoding), 4: i32(level_encoding)})
    return header(0, len(plain), len(packed), {5: data}, crc) + packed


def bits(values, width):
    """Levels of before runs: packed from the highest bit down."""
    out = "".join(format(value, f"0{width}b") for value in values)
    out += "0" * (-len(out) % 8)
    return bytes(int(out[i:i + 8], 2) for i in range(0, len(out), 8))


def page2(values, count, rows, nulls=0, defs=None, reps=None, max_def=0, max_rep=0, encoding=PLAIN, pack=bytes,
          is_compressed=None):
    """A data page of the second version: levels are never packed."""
    reps = runs(reps, width(max_rep)) if max_rep else b""
    defs = runs(defs, width(max_def)) if max_def else b""
    packed = pack(values)
    data = record({1: i32(count), 2: i32(nulls), 3: i32(rows), 4: i32(encoding), 5: i32(len(defs)), 6: i32(len(reps)),
                   7: None if is_compressed is None else boolean(is_compressed)})
    levels = reps + defs
    return header(3, len(levels) + len(values), len(levels) + len(packed), {8: data}) + levels + packed


def dictionary(values, count, encoding=PLAIN, pack=bytes):
    packed = pack(values)
    return header(2, len(values), len(packed), {7: record({1: i32(count), 2: i32(encoding)})}) + packed


def chunk(type, path, values, pages, dictionary=b"", codec=NONE, encodings=(PLAIN, RLE), statistics=None, dictionary_offset=None,
          data_offset=None, index=None, size=None, keys=None):
    """`dictionary_offset` and `data_offset` make the footer's of the true ones; `index` makes an offset index of the pages."""
    return dict(type=type, path=path, values=values, pages=pages, dictionary=dictionary, codec=codec, encodings=encodings,
                statistics=statistics, dictionary_offset=dictionary_offset, data_offset=data_offset, index=index, size=size)


def column_chunk(data, base):
    c = data
    body = c["dictionary"] + b"".join(c["pages"])
    first = base + len(c["dictionary"])
    true_dictionary = base if c["dictionary"] else None
    dictionary_offset = true_dictionary if c["dictionary_offset"] is None else c["dictionary_offset"](true_dictionary)
    data_offset = first if c["data_offset"] is None else c["data_offset"](first, base)
    size = len(body) if c["size"] is None else c["size"]
    meta = {1: i32(c["type"]), 2: many(5, [i32(e) for e in c["encodings"]]), 3: many(8, [text(p) for p in c["path"]]),
            4: i32(c["codec"]), 5: i64(c["values"]), 6: i64(size), 7: i64(size), 9: i64(data_offset),
            11: None if dictionary_offset is None else i64(dictionary_offset), 12: c["statistics"]}
    places, at = [], first
    for one in c["pages"]:
        places.append((at, len(one)))
        at += len(one)
    return body, meta, places


def file(schema, groups, rows=None, extra=None, keys=None, version=1):
    """The bytes of a file. `groups` has (rows, chunks) each; `extra` further fields of the footer."""
    out, metas, indexes = b"PAR1", [], []
    for count, chunks in groups:
        columns = []
        for data in chunks:
            body, meta, places = column_chunk(data, len(out))
            out += body
            fields = {2: i64(0), 3: record(meta)}
            if data["index"]:
                indexes.append((fields, data["index"](places)))
            columns.append(fields)
        metas.append((count, columns))
    for fields, places in indexes:
        pages = [record({1: i64(at), 2: i32(size), 3: i64(row)}) for at, size, row in places]
        index = record({1: many(12, pages)})[1]
        fields.update({4: i64(len(out)), 5: i32(len(index))})
        out += index
    row_groups = []
    for count, columns in metas:
        row_groups.append(record({1: many(12, [record(fields) for fields in columns]), 2: i64(1), 3: i64(count)}))
    total = sum(count for count, _ in groups) if rows is None else rows
    roots = root_count(schema)
    footer = {1: i32(version), 2: many(12, [element("schema", None, children=roots)] + [e for e, _ in schema]), 3: i64(total),
              4: many(12, row_groups), 6: text("by hand version 1.0")}
    if keys:
        footer[5] = many(12, [record({1: text(key), 2: text(value)}) for key, value in keys.items()])
    footer.update(extra or {})
    footer = record(footer)[1]
    return out + footer + struct.pack("<I", len(footer)) + b"PAR1"


def root_count(schema):
    """Elements at the top: each is given with the number of elements below it."""
    count, at = 0, 0
    while at < len(schema):
        count += 1
        at += 1 + schema[at][1]
    return count


def leaf(name, type, rep=OPTIONAL, **more):
    return [(element(name, rep, type, **more), 0)]


def group(name, children, rep=OPTIONAL, **more):
    """`children` is a list of what `leaf` and `group` give."""
    below = [e for child in children for e in child]
    return [(element(name, rep, children=len(children), **more), len(below))] + below


def int32s(*values):
    return struct.pack(f"<{len(values)}i", *values)


def int64s(*values):
    return struct.pack(f"<{len(values)}q", *values)


def strings(*values):
    return b"".join(sized(value.encode() if isinstance(value, str) else value) for value in values)


def int96(days, nanos):
    """Days since 1970, nanoseconds of the day."""
    return struct.pack("<qi", nanos, days + 2440588)


def gzip(data):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def one(name, type, values, count, **more):
    """A file of one optional column without nulls, and of a required column `id`."""
    ids = chunk(INT64, ["id"], count, [page(int64s(*range(count)), count)])
    values = chunk(type, [name], count, [page(values, count, [1] * count, max_def=1)])
    return file(leaf("id", INT64, REQUIRED) + leaf(name, type, **more), [(count, [ids, values])])
