//! Stderr, shared by talk, log lines and the live display.
//!
//! The display is a few lines at the bottom. Whatever else is said goes above it: the lines are taken away, the talk is
//! written, the lines come back, all under one lock. The cursor always stands at the start of the line below the display and
//! is never hidden, so a process that is killed leaves a usable terminal: nothing has to be restored.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::text::steady;

static SCREEN: Mutex<Screen> = Mutex::new(Screen { lines: Vec::new(), is_closed: false });

/// What stands at the bottom.
struct Screen {
    lines: Vec<String>,
    /// Nothing is drawn any more.
    is_closed: bool,
}

/// Writes above the display what steers no terminal.
pub(super) fn write(text: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(text);
    let screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = erased(&screen.lines);
    bytes.extend_from_slice(steady(&text).as_bytes());
    bytes.extend(drawn(&screen.lines));
    send(&bytes)
}

/// Shows these lines instead of those before. They must fit the terminal's width, or they could not be taken away.
pub(super) fn draw(lines: Vec<String>) {
    let mut screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    if screen.is_closed {
        return;
    }
    let mut bytes = erased(&screen.lines);
    bytes.extend(drawn(&lines));
    screen.lines = lines;
    // A terminal that has gone away is no reason to stop.
    let _ = send(&bytes);
}

/// Takes the display away for good.
pub(super) fn close() {
    draw(Vec::new());
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
}

/// Up to the first line of the display, and away with all that follows.
fn erased(lines: &[String]) -> Vec<u8> {
    match lines.len() {
        0 => Vec::new(),
        count => format!("\r\x1b[{count}A\x1b[J").into_bytes(),
    }
}

fn drawn(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.bytes().chain([b'\n'])).collect()
}

fn send(bytes: &[u8]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(bytes)?;
    stderr.flush()
}

/// Log lines are talk, too.
pub(super) struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        write(text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        Log
    }
}
