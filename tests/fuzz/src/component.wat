;; A component of the contract, around a module that is made of any bytes. What stands in braces is put in.
(component
  (import "wasmpipe:udf/host@0.1.0" (instance $host
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (type $node' (record (field "length" u32) (field "nulls" u32)))
    (export "node" (type $node (eq $node')))
    (type $lineage' (variant (case "same") (case "kept" (list u8)) (case "counts" (list u32))))
    (export "lineage" (type $lineage (eq $lineage')))
    (type $row-error' (record (field "row" u32) (field "message" string)))
    (export "row-error" (type $row-error (eq $row-error')))
    (export "answer" (func (param "nodes" (list $node)) (param "buffers" (list (list u8))) (param "lineage" $lineage)
      (param "errors" (list $row-error))))
    (export "log" (func (param "level" $level) (param "message" string)))
    (export "count" (func (param "name" string) (param "delta" u64)))))
  ;; The first module is the one that is made; this is what it looks like.
  (core module $made (func (export "run") (param i32 i32 i32 i32 i32) (result i32) (i32.const 0)))
  (core module $memory
    (memory (export "memory") 3)
    (global $top (mut i32) (i32.const 65536))
    (func (export "reset") (param i32) (global.set $top (i32.const 65536)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $start i32)
      (local.set $start (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $start) (local.get 3)))
      (block $enough
        (loop $more
          (br_if $enough (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
          (br $more)))
      (local.get $start)))
  (core module $main
    (type $run (func (param i32 i32 i32 i32 i32) (result i32)))
    (import "memory" "memory" (memory 1))
    (import "host" "answer" (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "made" "run" (func $run (type $run)))
    (func $start {start})
    (start $start)
    ;; Its description lies at 1024; what functions return at 2048, 2064 and 2080.
    (func (export "describe") (result i32) (i32.const 2048) {describe})
    (func (export "bind") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2064) {bind})
    (func (export "process") (param $rows i32) (param $nodes i32) (param $nn i32) (param $buffers i32) (param $nb i32)
      (result i32)
      {before}
      (call $answer (local.get $nodes) (local.get $nn) (local.get $buffers) (local.get $nb)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 2128) {after})
    ;; One function, `f`.
    (data (i32.const 1024) "{\"functions\":[{\"name\":\"f\",\"kind\":\"map\"}]}")
    ;; Where that is, and how long.
    (data (i32.const 2048) "\00\04\00\00\29\00\00\00")
    ;; No error; needs and adds, a list of one field each.
    (data (i32.const 2064) "\00\00\00\00\40\09\00\00\01\00\00\00\80\09\00\00\01\00\00\00")
    ;; `n` and `m`, of format `l`, with nulls.
    (data (i32.const 2368) "\00\0a\00\00\01\00\00\00\08\0a\00\00\01\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 2432) "\04\0a\00\00\01\00\00\00\08\0a\00\00\01\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 2560) "n\00\00\00m\00\00\00l"))
  (core instance $memory (instantiate $memory))
  (core func $answer (canon lower (func $host "answer") (memory (core memory $memory "memory"))))
  (core func $log (canon lower (func $host "log") (memory (core memory $memory "memory"))))
  (core func $count (canon lower (func $host "count") (memory (core memory $memory "memory"))))
  (core instance $host' (export "answer" (func $answer)) (export "log" (func $log)) (export "count" (func $count)))
  {more}
  (core instance $made (instantiate $made (with "memory" (instance $memory)) (with "host" (instance $host'))))
  {between}
  (core instance $main (instantiate $main
    (with "memory" (instance $memory)) (with "host" (instance $host')) (with "made" (instance {run}))))
  (type $field' (record (field "name" string) (field "format" string) (field "nullable" bool) (field "children" u32)
    (field "metadata" (list (tuple string string)))))
  (export $field "field" (type $field'))
  (type $node' (record (field "length" u32) (field "nulls" u32)))
  (export $node "node" (type $node'))
  (type $binding' (record (field "needs" (list $field)) (field "adds" (list $field))))
  (export $binding "binding" (type $binding'))
  (func $describe (result string) (canon lift (core func $main "describe") (memory (core memory $memory "memory"))))
  (func $bind (param "function" string) (param "input" (list $field)) (param "config" string)
    (result (result $binding (error string)))
    (canon lift (core func $main "bind") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $process (param "rows" u32) (param "nodes" (list $node)) (param "buffers" (list (list u8)))
    (result (result (error string)))
    (canon lift (core func $main "process") (memory (core memory $memory "memory"))
      (realloc (core func $memory "realloc")) (post-return (core func $memory "reset"))))
  (instance $functions (export "describe" (func $describe)))
  (export "wasmpipe:udf/functions@0.1.0" (instance $functions))
  (instance $blocks
    (export "field" (type $field)) (export "node" (type $node)) (export "binding" (type $binding))
    (export "bind" (func $bind)) (export "process" (func $process)))
  (export "wasmpipe:udf/blocks@0.1.0" (instance $blocks)))
