//! Numbers at random from one seed, which is said: what a failed test drew, it draws again with WASMPIPE_TEST_SEED.

use std::sync::OnceLock;

/// Draws numbers, the same ones from the same seed.
#[derive(Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A sequence of its own for each name, from the one seed of this process.
    pub fn of(name: &str) -> Random {
        let seed = seed();
        println!("{name} draws from WASMPIPE_TEST_SEED={seed}");
        Random::fixed(name, seed)
    }

    /// The same sequence in every process.
    pub fn fixed(name: &str, seed: u64) -> Random {
        Random { state: name.bytes().fold(seed, |state, byte| mixed(state ^ u64::from(byte))) }
    }

    /// A number below another.
    pub fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.state) % end
    }
}

/// WASMPIPE_TEST_SEED, or else the clock.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var("WASMPIPE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("WASMPIPE_TEST_SEED is a whole number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    })
}

/// The finaliser of SplitMix64.
pub fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
