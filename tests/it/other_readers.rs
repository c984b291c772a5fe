//! What others see: pyarrow reads the output and the id files that the log names.

use std::process::Command;

use crate::support::Workdir;

/// Prints the sorted ids of all id files, the sorted ids of all output files, and the output files' names, as JSON.
const SCRIPT: &str = r#"
import json, os, sys
import pyarrow.parquet as pq
folder = sys.argv[1]
inspect = json.load(open(os.path.join(folder, "inspect.json")))
column = lambda path: pq.read_table(path)["id"].to_pylist()
ids = [id for file in inspect["id_files"] for id in column(os.path.join(folder, "checkpoint", file["path"]))]
for file in inspect["id_files"]:
    own = column(os.path.join(folder, "checkpoint", file["path"]))
    assert own == sorted(own) and len(own) == file["rows"], file
names = sorted(name for name in os.listdir(os.path.join(folder, "out")) if name != "_wasmpipe")
output = [id for name in names for id in column(os.path.join(folder, "out", name))]
manifest = json.load(open(os.path.join(folder, "out", "_wasmpipe", inspect["job"] + ".json")))
print(json.dumps({"ids": sorted(ids), "output": sorted(output), "names": names,
                  "manifest": sorted(file["path"] for file in manifest["files"])}))
"#;

#[test]
fn pyarrow_reads_output_ids_and_manifest() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..300, 64);
    workdir.numbers("b.parquet", 300..500, 100);
    workdir.pipeline(
        r#"
[source]
path = "in"
id = "id"
[[stage]]
component = "{guests}/hostile.wasm"
function = "errors_on"
config = { at = [7, 299, 300] }
on_error = "skip"
[sink]
path = "out"
[checkpoint]
path = "checkpoint"
group_rows_max = 90
"#,
    );
    workdir.run().finished();
    std::fs::write(workdir.path("inspect.json"), workdir.inspect().to_string()).unwrap();
    let python = std::env::var("WASMPIPE_TEST_PYTHON").expect("run `cargo xtask test`, which installs pyarrow");
    let folder = workdir.path("");
    let output = Command::new(python).args(["-c", SCRIPT, folder.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut expected: Vec<String> =
        (0..500).filter(|n| ![7, 299, 300].contains(n)).map(|n| format!("id-{n}")).collect();
    expected.sort();
    assert_eq!(seen["ids"], serde_json::json!(expected), "the source's ids but the failed ones");
    assert_eq!(seen["output"], serde_json::json!(expected));
    assert_eq!(seen["names"], seen["manifest"]);
}
