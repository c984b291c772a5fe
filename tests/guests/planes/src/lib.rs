//! Identity over bytes, once for each way in which a block could cross the boundary, for `cargo xtask bench planes`. The
//! interface is the bench's own, `wit/planes.wit`; no pipeline can call it.
//!
//! `same` is here because a component is one that offers a function.

use wasmpipe_sdk::map;

/// The number again.
#[map]
fn same(n: i64) -> i64 {
    n
}

wasmpipe_sdk::export!(same);

// Its symbols have names that a native linker does not take.
#[cfg(target_arch = "wasm32")]
mod planes {
    use exports::wasmpipe::bench::identity::Guest;
    use wasmpipe::bench::answers;

    wit_bindgen::generate!({
        path: "wit",
        world: "planes",
        // What goes to the host is lent to it, and not copied first.
        ownership: Borrowing { duplicate_if_necessary: false },
    });

    struct Planes;

    impl Guest for Planes {
        fn one_returned(message: Vec<u8>) -> Vec<u8> {
            copied(&message)
        }

        fn one_pushed(message: Vec<u8>) {
            answers::one(&copied(&message));
        }

        fn many_returned(buffers: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
            each_copied(&buffers)
        }

        fn many_pushed(buffers: Vec<Vec<u8>>) {
            let copies = each_copied(&buffers);
            let lent: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
            answers::many(&lent);
        }
    }

    /// The work: the same in all variants, and not to be optimised away.
    fn copied(bytes: &[u8]) -> Vec<u8> {
        std::hint::black_box(bytes).to_vec()
    }

    fn each_copied(buffers: &[Vec<u8>]) -> Vec<Vec<u8>> {
        buffers.iter().map(|buffer| copied(buffer)).collect()
    }

    export!(Planes);
}
