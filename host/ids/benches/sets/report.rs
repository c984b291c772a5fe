//! Medians, and the tables of `tests/bench/RESULTS.md`.

use crate::kinds::Kind;
use crate::layouts::{Figures, Job, Layout};

/// What is promised of the sorted id file, by kind as in [`Kind::ALL`]; of URLs nothing.
struct Line {
    what: &'static str,
    limits: [f64; 5],
    is_limit_least: bool,
    of: fn(&Job, &Figures) -> Option<f64>,
}

const LINES: [Line; 9] = [
    Line {
        what: "build from unsorted, M ids/s",
        limits: [25.0, 25.0, 20.0, 20.0, 5.0],
        is_limit_least: true,
        of: |job, figures| Some(job.ids as f64 / 1e6 / figures.get("build_s")?),
    },
    Line {
        what: "bytes an id",
        limits: [0.2, 8.1, 4.0, 5.0, 32.0],
        is_limit_least: false,
        of: |job, figures| Some(figures.get("bytes")? / job.ids as f64),
    },
    Line {
        what: "ask in input order, M ids/s",
        limits: [150.0, 60.0, 60.0, 60.0, 10.0],
        is_limit_least: true,
        of: |_, figures| Some(1e3 / figures.get("input_ns")?),
    },
    Line {
        what: "the first time, M ids/s",
        limits: [0.0; 5],
        is_limit_least: true,
        of: |_, figures| Some(1e3 / figures.get("input_first_ns")?),
    },
    Line {
        what: "ask in random order, ns an id",
        limits: [100.0, 100.0, 250.0, 250.0, 250.0],
        is_limit_least: false,
        of: |_, figures| figures.get("random_ns"),
    },
    Line {
        what: "the first time, ns an id",
        limits: [f64::INFINITY; 5],
        is_limit_least: false,
        of: |_, figures| figures.get("random_first_ns"),
    },
    Line {
        what: "ask for new ids in random order, ns an id",
        limits: [f64::INFINITY; 5],
        is_limit_least: false,
        of: |_, figures| figures.get("new_ns"),
    },
    Line { what: "open, ms", limits: [10.0; 5], is_limit_least: false, of: |_, figures| figures.get("open_ms") },
    Line {
        what: "peak memory of the build, MiB",
        limits: [512.0; 5],
        is_limit_least: false,
        of: |_, figures| figures.get("peak_mib"),
    },
];

pub(crate) fn tables(measured: &[(Job, Vec<Figures>)]) {
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| measured.iter().any(|(job, _)| job.kind == *kind)).collect();
    let of = |kind, layout| measured.iter().find(|(job, _)| job.kind == kind && job.layout == layout);
    if measured.iter().any(|(job, _)| job.layout == Layout::File) {
        println!("\nThe sorted id file, figure (limit), medians:\n");
        head("", &kinds);
        for line in &LINES {
            row(
                line.what,
                kinds.iter().map(|kind| of(*kind, Layout::File).map_or_else(none, |of| with_limit(line, of))),
            );
        }
    }
    for line in LINES.iter().filter(|line| !line.what.starts_with("the first") && !line.what.starts_with("open")) {
        println!();
        head(line.what, &kinds);
        for layout in Layout::ALL.into_iter().filter(|layout| measured.iter().any(|(job, _)| job.layout == *layout)) {
            let figure = |kind| of(kind, layout).and_then(|of| median(line, of).map(|figure| (of, figure)));
            let cell =
                |kind: &Kind| figure(*kind).map_or_else(none, |((job, _), is)| format!("{}{}", number(is), fewer(job)));
            row(layout.name(), kinds.iter().map(cell));
        }
    }
}

pub(crate) fn billion(figures: &Figures) {
    println!("\nA billion random numbers:\n\n{figures}");
}

fn head(what: &str, kinds: &[Kind]) {
    row(what, kinds.iter().map(|kind| kind.name().to_string()));
    println!("|---|{}", "---:|".repeat(kinds.len()));
}

fn row(what: &str, cells: impl Iterator<Item = String>) {
    println!("| {what} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

fn none() -> String {
    String::new()
}

/// Says so where there were not 80 million.
fn fewer(job: &Job) -> String {
    if job.ids == crate::IDS { none() } else { format!(" ({} M ids)", number(job.ids as f64 / 1e6)) }
}

fn with_limit(line: &Line, of: &(Job, Vec<Figures>)) -> String {
    let Some(figure) = median(line, of) else { return none() };
    let limit = Kind::ALL.iter().position(|kind| *kind == of.0.kind).and_then(|kind| line.limits.get(kind));
    match limit {
        Some(limit) if limit.is_finite() && *limit > 0.0 => {
            let is_kept = if line.is_limit_least { figure >= *limit } else { figure <= *limit };
            format!("{}{} ({limit})", if is_kept { "" } else { "**missed** " }, number(figure))
        }
        _ => number(figure),
    }
}

fn median(line: &Line, (job, rounds): &(Job, Vec<Figures>)) -> Option<f64> {
    let mut figures: Vec<f64> = rounds.iter().filter_map(|round| (line.of)(job, round)).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

fn number(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 1.0 => format!("{figure:.1}"),
        figure if figure >= 0.01 => format!("{figure:.2}"),
        figure => format!("{figure:.6}"),
    }
}
