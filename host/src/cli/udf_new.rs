//! `wasmpipe udf new`: a crate to start from.

use super::args::{self, NewKind};
use super::{FINISHED, REFUSED, print_error};
use crate::author::new::{self, Kind, Made, New};

pub(super) fn new(options: &args::UdfNew) -> u8 {
    let wanted =
        New { name: &options.name, kind: kind(options.kind), dir: options.dir.as_deref(), sdk: options.sdk.as_deref() };
    match new::new(&wanted) {
        Ok(made) => {
            print(&made, &options.name);
            FINISHED
        }
        Err(error) => {
            print_error(&error);
            REFUSED
        }
    }
}

fn kind(kind: NewKind) -> Kind {
    match kind {
        NewKind::Map => Kind::Map,
        NewKind::Filter => Kind::Filter,
        NewKind::FlatMap => Kind::FlatMap,
        NewKind::MapBatches => Kind::MapBatches,
    }
}

fn print(Made { dir, function }: &Made, name: &str) {
    out!("{}: Cargo.toml, src/lib.rs, pipeline.toml, sample.parquet", dir.display());
    say!("next:");
    say!("  cd {}", dir.display());
    say!("  cargo test                                       # {function} is a plain function; see src/lib.rs");
    say!("  wasmpipe udf build                               # makes {name}.wasm");
    say!("  wasmpipe udf test {name}.wasm --input sample.parquet --shuffle");
    say!("  wasmpipe run pipeline.toml                       # writes out/");
}
