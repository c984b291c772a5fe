//! The server as a program: `wasmpipe-s3 [--port N] [--bucket NAME]...`. Prints its endpoint and serves until it is killed;
//! `serve.rs` says how to steer it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for tests")]

use std::process::ExitCode;

use wasmpipe_s3::{KEY_ID, SECRET, Server};

fn main() -> ExitCode {
    let Some((port, buckets)) = arguments() else {
        eprintln!("usage: wasmpipe-s3 [--port N] [--bucket NAME]...");
        return ExitCode::from(2);
    };
    let names: Vec<&str> = buckets.iter().map(String::as_str).collect();
    match Server::start_at(port, &names) {
        Ok(server) => {
            println!("{}", server.endpoint());
            println!("AWS_ACCESS_KEY_ID={KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET}");
            server.join();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot listen on port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<(u16, Vec<String>)> {
    let (mut port, mut buckets) = (0, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--port" => port = value.parse().ok()?,
            "--bucket" => buckets.push(value),
            _ => return None,
        }
    }
    if buckets.is_empty() {
        buckets.push("bucket".into());
    }
    Some((port, buckets))
}
