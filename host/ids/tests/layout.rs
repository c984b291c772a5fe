//! The bytes of version 3, frozen: a change here is a new version.

mod support;

use support::{Owned, build_batches};

fn check(ids: Owned, parts: &[&str]) {
    let (_, bytes) = build_batches(&[ids], 1000);
    let own: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: String = parts.iter().flat_map(|part| part[12..].chars()).filter(|digit| *digit != ' ').collect();
    assert_eq!(own, expected);
}

#[test]
fn strings() {
    let parts = [
        "header      57504950 45494453 03000000 00000000",
        "block       03000000 08000000",
        "row         00 03 726f77",
        "row-a       03 02 2d61",
        "row-b       04 01 62",
        "record      1000000000000000 14000000 00000000 0000000000000000 8216b8a92164d502",
        "filter      20200100 80010004 20001000 00041010 0c000020 06040000 40000024 00012002",
        "checksum    5070eff5b5883e78",
        "bitmap      05",
        "first, last 0700000000000000 0900000000000000",
        "place       6c00000000000104",
        "checksum    e23eae278d359e92",
        "strings     00000000 00000000",
        "ids, blocks 0300000000000000 0100000000000000 0000000000000000",
        "index       1000000000000000 2400000000000000 2000000000000000 6a24059f1d81abad",
        "mixed       0000000000000000",
        "filter      03000000 00000000",
        "ids, pages  0000000000000000 0100000000000000 0100000000000000",
        "index       4400000000000000 6400000000000000 0800000000000000 15f0dd40b1a0b725",
        "mixed       0000000000000000",
        "numbers     01000000 0a000000",
        "ids, blocks 0200000000000000 0100000000000000 0200000000000000",
        "index       6c00000000000000 6d00000000000000 2000000000000000 4bac3e4541b06d69",
        "mixed       0000000000000000",
        "template    0000000001 726f772d00",
        "footer      0500000000000000 8d00000000000000 0b5e7cb9aab94302 0300000000000000",
        "checksum    3325d9aff4c95b81",
        "magic       57504950 45494453",
    ];
    check(Owned::strings(["row-b", "row", "row-7", "row-a", "row-9"]), &parts);
}

#[test]
fn numbers() {
    let parts = [
        "header      57504950 45494453 03000000 00000000",
        "bitmap      05",
        "starts      0000 0200",
        "numbers     0000000000 0000f0ffff 0000f0ffff",
        "first, last 0300000000000000 0500000000000000",
        "place       1000000000000104",
        "checksum    e23eae278d359e92",
        "stretch     6400000000000000 a900000000000000 1100000000000000 0000000000000000",
        "first, last 0000100000000000 0000000000020000",
        "place       1100000000000208",
        "checksum    a4f44a36e24edfcf",
        "numbers     01000000 00000000",
        "ids, blocks 4b00000000000000 0300000000000000 0000000000000000",
        "index       1000000000000000 2400000000000000 6000000000000000 71c58bd3859bba4c",
        "mixed       0000000000000000",
        "footer      4b00000000000000 8400000000000000 f59d3dbafab7a9df 0100000000000000",
        "checksum    068b5a1bfc097215",
        "magic       57504950 45494453",
    ];
    let numbers = [3, 5, 1 << 20, 1 << 40, 1 << 41].into_iter().chain(100..170).collect();
    check(Owned::Numbers(numbers), &parts);
}
