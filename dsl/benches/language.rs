//! How fast text becomes a tree, and an application, on one core, and how much memory that takes.
//!
//!     cargo bench -p robo-dsl --bench language            all of it
//!     cargo bench -p robo-dsl --bench language -- check   cases whose name has `check` in it
//!
//! Each case runs in processes of its own. *Cold* is the first run of a new process, *warm* the runs after it; both
//! are medians. *Peak* is the largest resident memory of such a process, less what it had when the text was made:
//! the text itself is not counted. The last column is peak over text.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program that measures has a clock, starts itself again, and ends where it cannot"
)]

mod generate;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

/// Processes for each case.
const PROCESSES: usize = 5;
/// Warm runs in each process.
const WARM_RUNS: usize = 5;
/// Set in the processes that measure.
const CASE: &str = "ROBO_BENCH_CASE";

/// A name, the files, and what is done with them. The first file is the entry.
struct Case {
    name: &'static str,
    files: fn() -> Vec<(&'static str, String)>,
    run: fn(&str, &Files) -> usize,
    warm_runs: usize,
}

type Files = BTreeMap<String, Vec<u8>>;

const MEGABYTE: usize = 1_000_000;

const CASES: [Case; 8] = [
    Case { name: "tree, graph of 10 MB", files: ten_megabytes, run: tree, warm_runs: WARM_RUNS },
    Case { name: "tokens, graph of 10 MB", files: ten_megabytes, run: tokens, warm_runs: WARM_RUNS },
    Case {
        name: "tree, 100,000 instances",
        files: || vec![("app.graph", generate::instances(100_000, 10_000))],
        run: tree,
        warm_runs: WARM_RUNS,
    },
    Case {
        name: "check, 10,000 components",
        files: || vec![("app.graph", generate::graph(10_000))],
        run: check,
        warm_runs: WARM_RUNS,
    },
    Case { name: "check, 10,000 components and 100,000 instances", files: large, run: check, warm_runs: WARM_RUNS },
    Case { name: "check, graph of 10 MB", files: ten_megabytes, run: check, warm_runs: 1 },
    Case {
        name: "check, 10,000 nested instances",
        files: || vec![("app.graph", generate::nested(10_000))],
        run: refused,
        warm_runs: WARM_RUNS,
    },
    Case {
        name: "check, graph of 200 MB",
        files: || vec![("app.graph", generate::graph_of_bytes(200 * MEGABYTE))],
        run: any,
        warm_runs: 0,
    },
];

fn main() {
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let Some(case) = std::env::var_os(CASE) {
        let case = CASES.iter().find(|known| *known.name == *case);
        return case.map(measure).unwrap_or_default();
    }
    println!(
        "{:<48} {:>8} {:>10} {:>10} {:>10} {:>8} {:>6}",
        "", "MB", "cold", "warm", "warm MB/s", "peak MB", "ratio"
    );
    for case in CASES.iter().filter(|case| filters.is_empty() || filters.iter().any(|f| case.name.contains(f.as_str())))
    {
        report(case);
    }
}

/// What one process tells its parent, a number a line: bytes, peak in bytes, nanoseconds cold, then warm.
fn measure(case: &Case) {
    let files: Vec<(&str, String)> = (case.files)();
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let entry = files.first().map_or("", |(_, text)| text.as_str()).to_owned();
    let files: Files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    let before = memory("VmRSS:");
    let times: Vec<u128> = (0..=case.warm_runs)
        .map(|_| {
            let begin = Instant::now();
            black_box((case.run)(black_box(&entry), black_box(&files)));
            begin.elapsed().as_nanos()
        })
        .collect();
    println!("{bytes}\n{}", memory("VmHWM:").saturating_sub(before));
    times.iter().for_each(|time| println!("{time}"));
}

fn report(case: &Case) {
    let (mut bytes, mut peak, mut cold, mut warm) = (0, 0, Vec::new(), Vec::new());
    for _ in 0..PROCESSES {
        let itself = std::env::current_exe().expect("the path of this program");
        let output = Command::new(itself).env(CASE, case.name).output().expect("this program runs again");
        assert!(output.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
        let [size, most, first, others @ ..] = numbers.as_slice() else { panic!("{}: {text}", case.name) };
        bytes = *size;
        peak = peak.max(*most);
        cold.push(*first);
        warm.extend_from_slice(others);
    }
    let megabytes = bytes as f64 / MEGABYTE as f64;
    let (cold, warm) = (median(&mut cold), if warm.is_empty() { median(&mut cold) } else { median(&mut warm) });
    println!(
        "{:<48} {megabytes:>8.1} {:>10} {:>10} {:>10.1} {:>8.1} {:>6.1}",
        case.name,
        shown(cold),
        shown(warm),
        megabytes / Duration::from_nanos(warm).as_secs_f64(),
        peak as f64 / MEGABYTE as f64,
        peak as f64 / bytes as f64,
    );
}

fn shown(nanos: u64) -> String {
    format!("{:.1} ms", Duration::from_nanos(nanos).as_secs_f64() * 1000.0)
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A line of `/proc/self/status` in bytes.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * 1024
}

fn ten_megabytes() -> Vec<(&'static str, String)> {
    vec![("app.graph", generate::graph_of_bytes(10 * MEGABYTE))]
}

fn large() -> Vec<(&'static str, String)> {
    let app = "import components.graph;\nimport machines.instances;\n".to_owned();
    vec![
        ("app.graph", app),
        ("components.graph", generate::graph(10_000)),
        ("machines.instances", generate::instances(100_000, 10_000)),
    ]
}

fn tree(text: &str, _: &Files) -> usize {
    robo_dsl::syntax_errors(text).len()
}

fn tokens(text: &str, _: &Files) -> usize {
    robo_dsl::tokens(text).len()
}

fn check(_: &str, files: &Files) -> usize {
    let compiled = robo_dsl::compile_file("app.graph", &mut Shared(files));
    let application = compiled.application.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics.first()));
    application.components.len() + application.instances.len()
}

fn refused(_: &str, files: &Files) -> usize {
    let compiled = robo_dsl::compile_file("app.graph", &mut Shared(files));
    assert!(compiled.application.is_none(), "nested too deeply");
    compiled.diagnostics.len()
}

/// An application, or what is wrong with it.
fn any(_: &str, files: &Files) -> usize {
    let compiled = robo_dsl::compile_file("app.graph", &mut Shared(files));
    assert!(compiled.application.is_some() || !compiled.diagnostics.is_empty(), "an answer");
    compiled.diagnostics.len()
}

/// Files that are only borrowed: giving one out copies it, as reading it from a disk would.
struct Shared<'f>(&'f Files);

impl robo_dsl::Loader for Shared<'_> {
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| "there is no such file".to_owned())
    }
}
