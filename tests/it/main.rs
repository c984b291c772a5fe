//! The integration tests: whole jobs, in this process with a storage seam that can stop the world, and with the real
//! binary. The oracle is a model: the output multiset equals what one undisturbed run gives.
//!
//! * `support` - corpora, pipeline files, runs, outputs.
//! * `refuse` - mistakes are refused before anything is written (R).
//! * `drift` - files of one source that differ (R11, E1).
//! * `large` - data that is large in one place (E2).
//! * `listing` - names and folders as people have them (E3).
//! * `caches` - caches that cannot be used.
//! * `messages` - what people read when something is wrong, whole.
//! * `resume` - which rows a second run does (F).
//! * `import` - ids that were done elsewhere, in and out.
//! * `output` - which sink files count, and whether they are what the log says.
//! * `compile` - components that are made to compile for ever.
//! * `complete` - what counts as done (C).
//! * `dead_letters` - rows that failed and are kept (C3, C4).
//! * `crash` - kills at every durable step, and at random moments (K, P).
//! * `protocol` - stops at every durable step of a job that has everything (K, P).
//! * `scenarios` - the protocol's scenarios, one by one, and damage of all kinds (K, P).
//! * `claims` - whose a sink is: jobs that begin at once, copies, manifests that land late (I3, P).
//! * `repair` - what a repair gives up, and what it must not touch (K8, P18, I2).
//! * `processes` - real processes: killed in every phase, stopped and gone on, many at one job, moved (K5, P1, P5).
//! * `id_file` - the sorted id file on a host: built once, shared, damaged, larger than its memory (F4, K7, X4).
//! * `author` - what the author of a function types.
//! * `contract` - a guest written by hand, from the contract's words alone.
//! * `s3` - the same with source, sink and checkpoint in a bucket, on a server that misbehaves (K10, K13).
//! * `sandbox` - functions that misbehave (S).
//! * `attacks` - components that do harm while they run (S).
//! * `leak` - a long run has no more than a short one (S).
//! * `poison` - rows that end a function (S11).
//! * `types` - what functions take and give (S16, C5).
//! * `other_readers` - what pyarrow sees.
//! * `fidelity` - what came is what goes out (E4).
//! * `formats` - results in other formats than Parquet.
//! * `lines` - JSON Lines as a source.
//! * `conformance` - what every format must stand, on every store (K).
//! * `flips` - a bit of a checkpoint that is not what it was (I).
//! * `forged` - entries in the place of others (I).
//! * `mirror` - results in folders of their objects, and published.
//! * `frozen` - jobs that earlier builds began.
//! * `examples` - the functions of `udfs/` in pipelines.
//! * `docs` - the manual: its pipeline files, commands and links.
//! * `house` - the tree's own rules: which room may name which, and the map of cases.

#![expect(clippy::print_stdout, reason = "kills and points are counted for who watches")]

mod attacks;
mod author;
mod caches;
mod claims;
mod compile;
mod complete;
mod conformance;
mod contract;
mod crash;
mod dead_letters;
mod docs;
mod drift;
mod examples;
mod fidelity;
mod flips;
mod forged;
mod formats;
mod fresh;
mod frozen;
mod growth;
mod house;
mod id_file;
mod import;
mod large;
mod leak;
mod lines;
mod listing;
mod messages;
mod mirror;
mod other_readers;
mod output;
mod poison;
mod processes;
mod protocol;
mod refuse;
mod repair;
mod resume;
mod s3;
mod sandbox;
mod scenarios;
mod support;
mod types;
