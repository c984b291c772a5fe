;; A guest without an SDK, without generated code and without an Arrow library: what the contract `wit/udf.wit` asks of
;; a core module, by hand. It is there to be read beside "Without generated bindings" in the contract.
;;
;;     wasmpipe udf build bare.wat --out bare.wasm
;;
;; Three functions, one for each thing that a column can teach:
;;
;; * `negate`, a map: int64 values with nulls, in place; one row can fail
;; * `long_enough`, a filter: the lengths of texts from their offsets; a bitmap; a config
;; * `parts`, a flat-map: builds a column of texts, offset by offset; counts
;;
;; An address is a number, here as everywhere in WebAssembly; a "text" below is the address of bytes that end with a 0.
(module
  ;; ------------------------------------------------------------------------------------------------------- imports
  ;; `answer: func(nodes: list<node>, buffers: list<list<u8>>, lineage: lineage, errors: list<row-error>)`.
  ;; A list is two numbers, where it starts and how many elements it has. A variant is its case, then the values of
  ;; the widest case; `same` ignores them.
  (import "wasmpipe:udf/host@0.1.0" "answer" (func $answer
    (param $nodes i32) (param $nodes_count i32)
    (param $buffers i32) (param $buffers_count i32)
    (param $lineage i32) (param $lineage_list i32) (param $lineage_count i32)
    (param $errors i32) (param $errors_count i32)))
  ;; `count: func(name: string, delta: u64)`. What is not used need not be imported: `log` is not.
  (import "wasmpipe:udf/host@0.1.0" "count" (func $count (param $name i32) (param $name_bytes i32) (param $delta i64)))

  ;; --------------------------------------------------------------------------------------------------------- memory
  ;; One page of 64 KiB to start with. The host reads and writes here, hence the export. A maximum below 4 GiB, so that
  ;; no address overflows below; the stage's `memory_bytes_max` ends growth long before.
  (memory (export "memory") 1 65535)

  ;; From 16: constants. From 4096: where results are put together. From 8192: the heap.
  (global $HEAP_START i32 (i32.const 8192))
  (global $heap (mut i32) (i32.const 8192))

  (data (i32.const 16) "negate\00")
  (global $NEGATE i32 (i32.const 16))
  (data (i32.const 32) "long_enough\00")
  (global $LONG_ENOUGH i32 (i32.const 32))
  (data (i32.const 48) "parts\00")
  (global $PARTS i32 (i32.const 48))

  (data (i32.const 64) "n\00")
  (global $N i32 (i32.const 64))
  (data (i32.const 80) "text\00")
  (global $TEXT i32 (i32.const 80))
  (data (i32.const 96) "negated\00")
  (global $NEGATED i32 (i32.const 96))
  (data (i32.const 112) "part\00")
  (global $PART i32 (i32.const 112))

  ;; Types, as format strings of the Arrow C data interface.
  (data (i32.const 128) "l\00")
  (global $INT64 i32 (i32.const 128))
  (data (i32.const 144) "u\00")
  (global $UTF8 i32 (i32.const 144))

  ;; Words of JSON.
  (data (i32.const 160) "{\00")
  (global $OPEN i32 (i32.const 160))
  (data (i32.const 168) "}\00")
  (global $CLOSE i32 (i32.const 168))
  (data (i32.const 176) ":\00")
  (global $COLON i32 (i32.const 176))
  (data (i32.const 184) "\22bytes_min\22\00")
  (global $BYTES_MIN i32 (i32.const 184))

  (data (i32.const 208) "texts_null\00")
  (global $TEXTS_NULL i32 (i32.const 208))
  (data (i32.const 256) "the smallest int64 has no negative\00")
  (global $NO_NEGATIVE i32 (i32.const 256))
  (data (i32.const 320) "there is no such function; `describe` names those that there are\00")
  (global $NO_FUNCTION i32 (i32.const 320))
  (data (i32.const 448) "the config is neither {} nor, for long_enough, {\22bytes_min\22: N} with a whole N below 2^32\00")
  (global $BAD_CONFIG i32 (i32.const 448))

  ;; ------------------------------------------------------------------------------------------------------- describe
  (data (i32.const 1024)
    "{\22functions\22: ["
    "{\22name\22: \22negate\22, \22kind\22: \22map\22,"
    " \22doc\22: \22Adds `negated`, which is -n. The smallest int64 has no negative: such a row fails.\22,"
    " \22config\22: {\22type\22: \22object\22, \22additionalProperties\22: false},"
    " \22needs\22: [{\22name\22: \22n\22, \22type\22: \22Int64\22, \22nullable\22: true}],"
    " \22adds\22: [{\22name\22: \22negated\22, \22type\22: \22Int64\22, \22nullable\22: true}]},"
    "{\22name\22: \22long_enough\22, \22kind\22: \22filter\22,"
    " \22doc\22: \22Keeps texts of at least `bytes_min` bytes, which is 1 if not given.\22,"
    " \22config\22: {\22type\22: \22object\22, \22additionalProperties\22: false, \22properties\22:"
    " {\22bytes_min\22: {\22type\22: \22integer\22, \22minimum\22: 0, \22maximum\22: 4294967295, \22default\22: 1}}},"
    " \22needs\22: [{\22name\22: \22text\22, \22type\22: \22Utf8\22, \22nullable\22: false}],"
    " \22adds\22: []},"
    "{\22name\22: \22parts\22, \22kind\22: \22flat-map\22,"
    " \22doc\22: \22Cuts `text` at commas: a row with the column `part` for each. No row for a null.\22,"
    " \22config\22: {\22type\22: \22object\22, \22additionalProperties\22: false},"
    " \22needs\22: [{\22name\22: \22text\22, \22type\22: \22Utf8\22, \22nullable\22: true}],"
    " \22adds\22: [{\22name\22: \22part\22, \22type\22: \22Utf8\22, \22nullable\22: false}]}"
    "]}\00")
  (global $DESCRIPTION i32 (i32.const 1024))

  ;; More than one number does not fit into a result, so results lie in memory, and their address is returned.
  ;; Functions are not called within one another: one place serves them all.
  (global $RESULT i32 (i32.const 4096))

  ;; `describe: func() -> string`. A string is where its bytes start, and how many they are.
  (func (export "wasmpipe:udf/functions@0.1.0#describe") (result i32)
    (i32.store offset=0 (global.get $RESULT) (global.get $DESCRIPTION))
    (i32.store offset=4 (global.get $RESULT) (call $length (global.get $DESCRIPTION)))
    (global.get $RESULT))

  ;; ----------------------------------------------------------------------------------------------------------- bind
  ;; What `bind` chooses, for as long as this instance lives.
  (global $function (mut i32) (i32.const 0))
  (global $bytes_min (mut i32) (i32.const 1))

  ;; Two records `field` of 32 bytes.
  (global $NEEDS i32 (i32.const 4128))
  (global $ADDS i32 (i32.const 4160))

  ;; `bind: func(function: string, input: list<field>, config: string) -> result<binding, string>`. The input is not
  ;; looked at: that `needs` are columns of it, and of types that can be converted, is for the host to check.
  ;;
  ;; The result: a byte 0 for ok or 1 for an error, and from byte 4 the record of two lists, or the string.
  (func (export "wasmpipe:udf/blocks@0.1.0#bind")
    (param $name i32) (param $name_bytes i32)
    (param $input i32) (param $input_count i32)
    (param $config i32) (param $config_bytes i32)
    (result i32)
    (local $adds_count i32)
    (if (call $is (local.get $name) (local.get $name_bytes) (global.get $NEGATE)) (then
      (global.set $function (global.get $NEGATE))
      (call $put_field (global.get $NEEDS) (global.get $N) (global.get $INT64) (i32.const 1))
      (call $put_field (global.get $ADDS) (global.get $NEGATED) (global.get $INT64) (i32.const 1))
      (local.set $adds_count (i32.const 1))))
    (if (call $is (local.get $name) (local.get $name_bytes) (global.get $LONG_ENOUGH)) (then
      (global.set $function (global.get $LONG_ENOUGH))
      ;; Not nullable: the host keeps rows with nulls away, and reports them.
      (call $put_field (global.get $NEEDS) (global.get $TEXT) (global.get $UTF8) (i32.const 0))))
    (if (call $is (local.get $name) (local.get $name_bytes) (global.get $PARTS)) (then
      (global.set $function (global.get $PARTS))
      (call $put_field (global.get $NEEDS) (global.get $TEXT) (global.get $UTF8) (i32.const 1))
      (call $put_field (global.get $ADDS) (global.get $PART) (global.get $UTF8) (i32.const 0))
      (local.set $adds_count (i32.const 1))))
    (if (i32.eqz (global.get $function)) (then (return (call $error (global.get $NO_FUNCTION)))))
    (if (i32.eqz (call $read_config (local.get $config) (local.get $config_bytes))) (then
      (return (call $error (global.get $BAD_CONFIG)))))
    (i32.store8 offset=0 (global.get $RESULT) (i32.const 0))
    (i32.store offset=4 (global.get $RESULT) (global.get $NEEDS))
    (i32.store offset=8 (global.get $RESULT) (i32.const 1))
    (i32.store offset=12 (global.get $RESULT) (global.get $ADDS))
    (i32.store offset=16 (global.get $RESULT) (local.get $adds_count))
    (global.get $RESULT))

  ;; The record `field`: name, format, nullable (1 byte and 3 that nobody reads), children, metadata.
  (func $put_field (param $at i32) (param $name i32) (param $format i32) (param $nullable i32)
    (i32.store offset=0 (local.get $at) (local.get $name))
    (i32.store offset=4 (local.get $at) (call $length (local.get $name)))
    (i32.store offset=8 (local.get $at) (local.get $format))
    (i32.store offset=12 (local.get $at) (call $length (local.get $format)))
    (i32.store8 offset=16 (local.get $at) (local.get $nullable))
    (i32.store offset=20 (local.get $at) (i32.const 0))
    (i32.store offset=24 (local.get $at) (i32.const 0))
    (i32.store offset=28 (local.get $at) (i32.const 0)))

  ;; The result `err(message)`.
  (func $error (param $message i32) (result i32)
    (i32.store8 offset=0 (global.get $RESULT) (i32.const 1))
    (i32.store offset=4 (global.get $RESULT) (local.get $message))
    (i32.store offset=8 (global.get $RESULT) (call $length (local.get $message)))
    (global.get $RESULT))

  ;; Where the config is being read, and where it ends.
  (global $at (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))

  ;; Whether the config is `{}`, or `{"bytes_min": N}` for long_enough: all the JSON that this guest understands.
  (func $read_config (param $config i32) (param $config_bytes i32) (result i32)
    (local $number i64)
    (global.set $at (local.get $config))
    (global.set $end (i32.add (local.get $config) (local.get $config_bytes)))
    (if (i32.eqz (call $eat (global.get $OPEN))) (then (return (i32.const 0))))
    (if (i32.eq (global.get $function) (global.get $LONG_ENOUGH)) (then
      (if (call $eat (global.get $BYTES_MIN)) (then
        (if (i32.eqz (call $eat (global.get $COLON))) (then (return (i32.const 0))))
        (local.set $number (call $eat_number))
        (if (i64.lt_s (local.get $number) (i64.const 0)) (then (return (i32.const 0))))
        (global.set $bytes_min (i32.wrap_i64 (local.get $number)))))))
    (if (i32.eqz (call $eat (global.get $CLOSE))) (then (return (i32.const 0))))
    (call $eat_blanks)
    (i32.eq (global.get $at) (global.get $end)))

  (func $eat_blanks
    (block $done
      (loop $next
        (br_if $done (i32.eq (global.get $at) (global.get $end)))
        (br_if $done (i32.gt_u (i32.load8_u (global.get $at)) (i32.const 32)))
        (global.set $at (i32.add (global.get $at) (i32.const 1)))
        (br $next))))

  ;; Goes past blanks and the text, if it is there.
  (func $eat (param $text i32) (result i32)
    (local $bytes i32)
    (call $eat_blanks)
    (local.set $bytes (call $length (local.get $text)))
    (if (i32.gt_u (local.get $bytes) (i32.sub (global.get $end) (global.get $at))) (then (return (i32.const 0))))
    (if (i32.eqz (call $is (global.get $at) (local.get $bytes) (local.get $text))) (then (return (i32.const 0))))
    (global.set $at (i32.add (global.get $at) (local.get $bytes)))
    (i32.const 1))

  ;; Goes past blanks and digits: their number, or -1 if there is none or it is 2^32 or more.
  (func $eat_number (result i64)
    (local $number i64)
    (local $digit i32)
    (call $eat_blanks)
    (local.set $number (i64.const -1))
    (block $done
      (loop $next
        (br_if $done (i32.eq (global.get $at) (global.get $end)))
        (local.set $digit (i32.sub (i32.load8_u (global.get $at)) (i32.const 48)))
        (br_if $done (i32.gt_u (local.get $digit) (i32.const 9)))
        (if (i64.lt_s (local.get $number) (i64.const 0)) (then (local.set $number (i64.const 0))))
        (local.set $number (i64.add
          (i64.mul (local.get $number) (i64.const 10))
          (i64.extend_i32_u (local.get $digit))))
        (if (i64.gt_u (local.get $number) (i64.const 0xffffffff)) (then (return (i64.const -1))))
        (global.set $at (i32.add (global.get $at) (i32.const 1)))
        (br $next)))
    (local.get $number))

  ;; -------------------------------------------------------------------------------------------------------- process
  ;; `process: func(rows: u32, nodes: list<node>, buffers: list<list<u8>>) -> result<_, string>`.
  ;;
  ;; `$nodes` is an array of records of 8 bytes, length and nulls: here one, as there is one column. `$buffers` is an
  ;; array of lists, each where its bytes start and how many they are. What `bind` agreed to says how many there are.
  (func (export "wasmpipe:udf/blocks@0.1.0#process")
    (param $rows i32)
    (param $nodes i32) (param $nodes_count i32)
    (param $buffers i32) (param $buffers_count i32)
    (result i32)
    (if (i32.eq (global.get $function) (global.get $NEGATE)) (then
      (call $negate (local.get $rows) (local.get $nodes) (local.get $buffers))))
    (if (i32.eq (global.get $function) (global.get $LONG_ENOUGH)) (then
      (call $long_enough (local.get $rows) (local.get $buffers))))
    (if (i32.eq (global.get $function) (global.get $PARTS)) (then
      (call $parts (local.get $rows) (local.get $nodes) (local.get $buffers))))
    (i32.store8 offset=0 (global.get $RESULT) (i32.const 0))
    (global.get $RESULT))

  ;; The column in is: validity, values of 8 bytes. So is the column out, with the same nulls. The memory that the host
  ;; filled is ours: values are negated where they are, and go back with the nodes and buffers that they came with.
  (func $negate (param $rows i32) (param $nodes i32) (param $buffers i32)
    (local $nulls i32) (local $validity i32) (local $values i32)
    (local $row i32) (local $at i32) (local $value i64)
    (local $errors i32) (local $errors_count i32) (local $error i32)
    (local.set $nulls (i32.load offset=4 (local.get $nodes)))
    (local.set $validity (i32.load offset=0 (local.get $buffers)))
    (local.set $values (i32.load offset=8 (local.get $buffers)))
    ;; Room for an error of each row: records `row-error` of 12 bytes, the row and a string.
    (local.set $errors (call $allocate (i64.mul (i64.extend_i32_u (local.get $rows)) (i64.const 12))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $row) (local.get $rows)))
        (local.set $at (i32.add (local.get $values) (i32.shl (local.get $row) (i32.const 3))))
        (local.set $value (i64.load align=1 (local.get $at)))
        (i64.store align=1 (local.get $at) (i64.sub (i64.const 0) (local.get $value)))
        (if (i64.eq (local.get $value) (i64.const 0x8000000000000000)) (then
          ;; Under a null may stand any value: it is no reason to fail.
          (if (call $is_valid (local.get $nulls) (local.get $validity) (local.get $row)) (then
            (local.set $error
              (i32.add (local.get $errors) (i32.mul (local.get $errors_count) (i32.const 12))))
            (i32.store offset=0 (local.get $error) (local.get $row))
            (i32.store offset=4 (local.get $error) (global.get $NO_NEGATIVE))
            (i32.store offset=8 (local.get $error) (call $length (global.get $NO_NEGATIVE)))
            (local.set $errors_count (i32.add (local.get $errors_count) (i32.const 1)))))))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next)))
    (call $answer
      (local.get $nodes) (i32.const 1)
      (local.get $buffers) (i32.const 2)
      (i32.const 0) (i32.const 0) (i32.const 0) ;; `same`
      (local.get $errors) (local.get $errors_count)))

  ;; The column in is: validity (no byte, as it is not nullable), offsets of 4 bytes, the texts. There is no column out.
  (func $long_enough (param $rows i32) (param $buffers i32)
    (local $offsets i32) (local $row i32) (local $at i32)
    (local $kept i32) (local $kept_bytes i32)
    (local.set $offsets (i32.load offset=8 (local.get $buffers)))
    (local.set $kept_bytes (i32.shr_u (i32.add (local.get $rows) (i32.const 7)) (i32.const 3)))
    (local.set $kept (call $allocate (i64.extend_i32_u (local.get $kept_bytes))))
    (memory.fill (local.get $kept) (i32.const 0) (local.get $kept_bytes))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $row) (local.get $rows)))
        (local.set $at (call $offset (local.get $offsets) (local.get $row)))
        (if (i32.ge_u
              (i32.sub (i32.load offset=4 align=1 (local.get $at)) (i32.load offset=0 align=1 (local.get $at)))
              (global.get $bytes_min))
          (then
            (local.set $at (i32.add (local.get $kept) (i32.shr_u (local.get $row) (i32.const 3))))
            (i32.store8 (local.get $at) (i32.or
              (i32.load8_u (local.get $at))
              (i32.shl (i32.const 1) (i32.and (local.get $row) (i32.const 7)))))))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next)))
    (call $answer
      (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)
      (i32.const 1) (local.get $kept) (local.get $kept_bytes) ;; `kept`
      (i32.const 0) (i32.const 0)))

  ;; One node and three lists of the column `part`.
  (global $NODES_OUT i32 (i32.const 4192))
  (global $BUFFERS_OUT i32 (i32.const 4200))

  ;; The column in is: validity, offsets, the texts. The column out is: no validity, as it has no nulls; one offset more
  ;; than there are parts; their bytes, one part after the other.
  (func $parts (param $rows i32) (param $nodes i32) (param $buffers i32)
    (local $nulls i32) (local $validity i32) (local $offsets i32) (local $bytes i32)
    (local $counts i32) (local $total i32)
    (local $offset_out i32) (local $start_out i32) (local $byte_out i32)
    (local $row i32) (local $at i32) (local $end i32) (local $byte i32)
    (local.set $nulls (i32.load offset=4 (local.get $nodes)))
    (local.set $validity (i32.load offset=0 (local.get $buffers)))
    (local.set $offsets (i32.load offset=8 (local.get $buffers)))
    (local.set $bytes (i32.load offset=16 (local.get $buffers)))
    (local.set $counts (call $allocate (i64.shl (i64.extend_i32_u (local.get $rows)) (i64.const 2))))
    (local.set $total (call $count_parts (local.get $rows) (local.get $nodes) (local.get $buffers) (local.get $counts)))

    ;; validity: no byte
    (i32.store offset=0 (global.get $BUFFERS_OUT) (i32.const 0))
    (i32.store offset=4 (global.get $BUFFERS_OUT) (i32.const 0))
    ;; offsets
    (local.set $offset_out (call $allocate (i64.shl
      (i64.add (i64.extend_i32_u (local.get $total)) (i64.const 1)) (i64.const 2))))
    (i32.store offset=8 (global.get $BUFFERS_OUT) (local.get $offset_out))
    (i32.store offset=12 (global.get $BUFFERS_OUT)
      (i32.shl (i32.add (local.get $total) (i32.const 1)) (i32.const 2)))
    (i32.store (local.get $offset_out) (i32.const 0))
    ;; bytes: not more than came in
    (local.set $start_out (call $allocate (i64.extend_i32_u (i32.load offset=20 (local.get $buffers)))))
    (local.set $byte_out (local.get $start_out))

    (block $done
      (loop $next_row
        (br_if $done (i32.eq (local.get $row) (local.get $rows)))
        (if (call $is_valid (local.get $nulls) (local.get $validity) (local.get $row)) (then
          (local.set $at (call $offset (local.get $offsets) (local.get $row)))
          (local.set $end (i32.add (local.get $bytes) (i32.load offset=4 align=1 (local.get $at))))
          (local.set $at (i32.add (local.get $bytes) (i32.load offset=0 align=1 (local.get $at))))
          (block $row_done
            (loop $next_byte
              (local.set $byte (i32.const 44)) ;; a comma stands behind the last part, too
              (if (i32.ne (local.get $at) (local.get $end)) (then
                (local.set $byte (i32.load8_u (local.get $at)))))
              (if (i32.eq (local.get $byte) (i32.const 44))
                (then
                  (local.set $offset_out (i32.add (local.get $offset_out) (i32.const 4)))
                  (i32.store (local.get $offset_out) (i32.sub (local.get $byte_out) (local.get $start_out))))
                (else
                  (i32.store8 (local.get $byte_out) (local.get $byte))
                  (local.set $byte_out (i32.add (local.get $byte_out) (i32.const 1)))))
              (br_if $row_done (i32.eq (local.get $at) (local.get $end)))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br $next_byte)))))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next_row)))

    (i32.store offset=16 (global.get $BUFFERS_OUT) (local.get $start_out))
    (i32.store offset=20 (global.get $BUFFERS_OUT) (i32.sub (local.get $byte_out) (local.get $start_out)))
    (i32.store offset=0 (global.get $NODES_OUT) (local.get $total))
    (i32.store offset=4 (global.get $NODES_OUT) (i32.const 0))
    (call $count
      (global.get $TEXTS_NULL) (call $length (global.get $TEXTS_NULL))
      (i64.extend_i32_u (local.get $nulls)))
    (call $answer
      (global.get $NODES_OUT) (i32.const 1)
      (global.get $BUFFERS_OUT) (i32.const 3)
      (i32.const 2) (local.get $counts) (local.get $rows) ;; `counts`
      (i32.const 0) (i32.const 0)))

  ;; Fills in how many parts each row has, and tells how many they are together.
  (func $count_parts (param $rows i32) (param $nodes i32) (param $buffers i32) (param $counts i32) (result i32)
    (local $nulls i32) (local $validity i32) (local $offsets i32) (local $bytes i32)
    (local $row i32) (local $at i32) (local $end i32) (local $parts i32) (local $total i32)
    (local.set $nulls (i32.load offset=4 (local.get $nodes)))
    (local.set $validity (i32.load offset=0 (local.get $buffers)))
    (local.set $offsets (i32.load offset=8 (local.get $buffers)))
    (local.set $bytes (i32.load offset=16 (local.get $buffers)))
    (block $done
      (loop $next_row
        (br_if $done (i32.eq (local.get $row) (local.get $rows)))
        (local.set $parts (i32.const 0))
        (if (call $is_valid (local.get $nulls) (local.get $validity) (local.get $row)) (then
          (local.set $parts (i32.const 1))
          (local.set $at (call $offset (local.get $offsets) (local.get $row)))
          (local.set $end (i32.add (local.get $bytes) (i32.load offset=4 align=1 (local.get $at))))
          (local.set $at (i32.add (local.get $bytes) (i32.load offset=0 align=1 (local.get $at))))
          (block $row_done
            (loop $next_byte
              (br_if $row_done (i32.eq (local.get $at) (local.get $end)))
              (local.set $parts
                (i32.add (local.get $parts) (i32.eq (i32.load8_u (local.get $at)) (i32.const 44))))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br $next_byte)))))
        (i32.store (i32.add (local.get $counts) (i32.shl (local.get $row) (i32.const 2))) (local.get $parts))
        (local.set $total (i32.add (local.get $total) (local.get $parts)))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next_row)))
    (local.get $total))

  ;; ----------------------------------------------------------------------------------------------- columns, and texts
  ;; Whether a row has a value. Without nulls there is no bitmap to look at.
  (func $is_valid (param $nulls i32) (param $validity i32) (param $row i32) (result i32)
    (if (i32.eqz (local.get $nulls)) (then (return (i32.const 1))))
    (i32.and (i32.const 1) (i32.shr_u
      (i32.load8_u (i32.add (local.get $validity) (i32.shr_u (local.get $row) (i32.const 3))))
      (i32.and (local.get $row) (i32.const 7)))))

  ;; The address of a row's offset. The next one, where the row ends, is 4 bytes on.
  (func $offset (param $offsets i32) (param $row i32) (result i32)
    (i32.add (local.get $offsets) (i32.shl (local.get $row) (i32.const 2))))

  ;; Bytes of a text.
  (func $length (param $text i32) (result i32)
    (local $at i32)
    (local.set $at (local.get $text))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $at) (local.get $text)))

  ;; Whether bytes are those of a text.
  (func $is (param $at i32) (param $bytes i32) (param $text i32) (result i32)
    (local $i i32)
    (if (i32.ne (local.get $bytes) (call $length (local.get $text))) (then (return (i32.const 0))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $i) (local.get $bytes)))
        (if (i32.ne
              (i32.load8_u (i32.add (local.get $at) (local.get $i)))
              (i32.load8_u (i32.add (local.get $text) (local.get $i))))
          (then (return (i32.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.const 1))

  ;; ------------------------------------------------------------------------------------------------------------ heap
  ;; Before a call the host asks for room for each string and each list that it passes, and fills it.
  ;; `old` and `old_bytes` are 0 then; the canonical ABI may also have something grown.
  (func (export "cabi_realloc")
    (param $old i32) (param $old_bytes i32) (param $align i32) (param $bytes i32) (result i32)
    (local $new i32)
    (local.set $new (call $allocate (i64.extend_i32_u (local.get $bytes))))
    (if (i32.gt_u (local.get $old_bytes) (local.get $bytes)) (then (local.set $old_bytes (local.get $bytes))))
    (memory.copy (local.get $new) (local.get $old) (local.get $old_bytes))
    (local.get $new))

  ;; When the host has read a result, nothing that it passed in, and nothing that was made of it, is needed any more.
  (func $free_all (param $result i32)
    (global.set $heap (global.get $HEAP_START)))
  (export "cabi_post_wasmpipe:udf/blocks@0.1.0#bind" (func $free_all))
  (export "cabi_post_wasmpipe:udf/blocks@0.1.0#process" (func $free_all))

  ;; Room for so many bytes at an address that is a multiple of 8, which is more than the host asks for: its buffers are
  ;; lists of bytes, at any address. There is always an address, also for no byte at all. What is there is not zero.
  (func $allocate (param $bytes i64) (result i32)
    (local $start i32) (local $end i64) (local $more i64)
    (local.set $start (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (local.set $end (i64.add (i64.extend_i32_u (local.get $start)) (local.get $bytes)))
    ;; The pages that are missing. Without them: a trap, of which the host knows that memory was refused before.
    (local.set $more (i64.sub
      (i64.shr_u (i64.add (local.get $end) (i64.const 65535)) (i64.const 16))
      (i64.extend_i32_u (memory.size))))
    (if (i64.gt_s (local.get $more) (i64.const 0)) (then
      (if (i64.gt_s (local.get $more) (i64.const 65535)) (then unreachable))
      (if (i32.eq (memory.grow (i32.wrap_i64 (local.get $more))) (i32.const -1)) (then unreachable))))
    (global.set $heap (i32.wrap_i64 (local.get $end)))
    (local.get $start))
)
