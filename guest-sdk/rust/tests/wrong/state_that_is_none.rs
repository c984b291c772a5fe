//! A state that nothing builds.

use wasmpipe_sdk::map;

struct Table(Vec<String>);

#[map]
fn known(name: String, #[state] table: &Table) -> bool {
    table.0.contains(&name)
}
