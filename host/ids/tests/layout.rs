//! The bytes of version 1, frozen: a change here is a new version.

mod support;

use support::build;

#[test]
fn three_ids() {
    let (_, bytes) = build(["row-12", "row-7", "row-1"], 1000);
    let parts = [
        "header      57504950 45494453 01000000 00000000",
        "block       03000000 08000000",
        "row-1       00 05 726f772d31",
        "row-12      05 01 32",
        "row-7       04 01 37",
        "record      1000000000000000 15000000 00000000 0000000000000000 97c631707511c40d",
        "footer      0300000000000000 0100000000000000 2500000000000000 2500000000000000",
        "checksums   528f5cb7842d30dd b3287f6728b4d106",
        "magic       57504950 45494453",
    ];
    let digits = parts.iter().flat_map(|part| part[12..].chars()).filter(|digit| *digit != ' ');
    assert_eq!(hex(&bytes), digits.collect::<String>());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
