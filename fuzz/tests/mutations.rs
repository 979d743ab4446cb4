//! Every target on its seeds and on random changes of them, without a fuzzer: any compiler can run it.
//!
//! `HOLDFAST_FUZZ_SECONDS` says how long each target runs (one second when it is not set),
//! `HOLDFAST_FUZZ_SEED` what the changes are drawn from. The input of a failure is written to `artifacts/`.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use holdfast_fuzz as fuzz;

/// Longest input.
const BYTES_MAX: usize = 64 << 10;
/// A slower input fails: sizes in a file must not decide how long it takes to refuse it.
const SLOW: Duration = Duration::from_secs(10);

/// Small numbers that depend on the seed only.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    fn value(&mut self) -> u32 {
        let near = self.below(300) as u32;
        match self.below(8) {
            0 => 0,
            1 => u32::MAX - near,
            2 => i32::MAX as u32 - near,
            3 => 1 << self.below(32),
            4 => self.below(1 << 32) as u32,
            _ => near,
        }
    }
}

const WORDS: &[&str] = &[
    " and ",
    " or ",
    "not ",
    " in ",
    " like ",
    "is null",
    "exists ",
    "(",
    ")",
    "[",
    "]",
    "{l}",
    "{n}",
    "{nested}",
    "\"",
    "'",
    "\\",
    "%",
    "_",
    "==",
    "!=",
    "<=",
    "**",
    "<<",
    "-",
    "0x",
    "1e999",
    "9223372036854775808",
    "true",
    "id",
    "count",
    "doc",
    "doc[\"a\"]",
    "tags",
    "ints[0]",
    "array_length(",
    "json_contains_all(",
    "array_contains(",
    "$meta",
    "text",
    ",",
    "&&",
    "||",
    "~",
];

/// Whether inputs are edits (after `head` bytes), text, or bytes of a message.
#[derive(Clone, Copy)]
enum Form {
    Edits { head: usize },
    Text,
    Bytes,
}

fn changed(mut input: Vec<u8>, other: &[u8], form: Form, draw: &mut Draw) -> Vec<u8> {
    for _ in 0..=draw.below(4) {
        match form {
            Form::Edits { head } if draw.below(8) > 0 => {
                if input.len() <= head || input[head] & 1 == 0 {
                    input.truncate(head);
                    input.resize(head, 0);
                    input.push(3);
                }
                if draw.below(6) == 0 && head > 0 {
                    input[0] = draw.below(256) as u8;
                }
                let at = draw.below(1 << 24).to_le_bytes();
                // The beginning of a file says most of what the rest means.
                let at = if draw.below(2) == 0 {
                    [draw.below(256) as u8, 0, 0]
                } else {
                    [at[0], at[1], at[2]]
                };
                input.push(draw.below(8) as u8);
                input.extend(at);
                input.extend(draw.value().to_le_bytes());
            }
            Form::Text if draw.below(3) > 0 => {
                let word = WORDS[draw.below(WORDS.len())].bytes();
                let at = draw.below(input.len() + 1);
                input.splice(at..at, word);
            }
            _ => {
                let at = draw.below(input.len() + 1);
                let end = input.len().min(at + draw.below(16));
                match draw.below(6) {
                    0 => drop(input.drain(at..end)),
                    1 => drop(input.splice(at..at, draw.value().to_le_bytes())),
                    2 => {
                        let piece = input[at..end].to_vec();
                        input.splice(at..at, piece);
                    }
                    3 if !other.is_empty() => {
                        let from = draw.below(other.len());
                        input.truncate(at);
                        input.extend_from_slice(&other[from..]);
                    }
                    _ => {
                        if let Some(byte) = input.get_mut(at) {
                            *byte = match draw.below(2) {
                                0 => *byte ^ 1 << draw.below(8),
                                _ => draw.below(256) as u8,
                            };
                        }
                    }
                }
            }
        }
    }
    input.truncate(BYTES_MAX);
    input
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration but the environment"
)]
fn run(target: &str, form: Form, test: fn(&[u8])) {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |v| v.parse().expect(name));
    let limit = Duration::from_secs(number("HOLDFAST_FUZZ_SECONDS", 1));
    let mut draw = Draw(number("HOLDFAST_FUZZ_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds: Vec<_> = fs::read_dir(root.join("seeds").join(target))
        .expect("every target has seeds")
        .map(|entry| entry.expect("seeds can be listed").path())
        .collect();
    seeds.sort();
    let seeds: Vec<Vec<u8>> = seeds
        .iter()
        .map(|path| fs::read(path).expect("seeds can be read"))
        .collect();
    let mut failures = Vec::new();
    let mut attempt = |input: &[u8]| {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| test(input)));
        if outcome.is_err() || started.elapsed() > SLOW {
            let folder = root.join("artifacts").join(target);
            fs::create_dir_all(&folder).expect("artifacts can be written");
            let path = folder.join(format!("mutation-{}", failures.len()));
            fs::write(&path, input).expect("artifacts can be written");
            failures.push(path);
        }
        failures.len()
    };
    for seed in &seeds {
        attempt(seed);
    }
    let started = Instant::now();
    let mut runs = seeds.len();
    while started.elapsed() < limit {
        let seed = seeds[draw.below(seeds.len())].clone();
        let other = &seeds[draw.below(seeds.len())];
        let input = changed(seed, other, form, &mut draw);
        runs += 1;
        if attempt(&input) >= 20 {
            break;
        }
    }
    println!(
        "{target}: {runs} inputs, {} failures, {:?}",
        failures.len(),
        started.elapsed()
    );
    assert!(
        failures.is_empty(),
        "{target}: run again with these inputs: {failures:?}"
    );
}

macro_rules! targets {
    ($($name:ident: $form:expr, $test:path;)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name), $form, $test);
            }
        )*
    };
}

targets! {
    filter_expression: Form::Text, fuzz::filter::expression;
    wal_record: Form::Edits { head: 0 }, fuzz::log::record;
    wal_log: Form::Edits { head: 0 }, fuzz::log::directory;
    journal_record: Form::Edits { head: 1 }, fuzz::journal::record;
    journal_open: Form::Edits { head: 1 }, fuzz::journal::directory;
    segment_columns: Form::Edits { head: 1 }, fuzz::segment::columns;
    segment_keys: Form::Edits { head: 1 }, fuzz::segment::keys;
    segment_deletes: Form::Edits { head: 1 }, fuzz::segment::deletes;
    sealed_open: Form::Edits { head: 1 }, fuzz::segment::whole;
    index_hnsw: Form::Edits { head: 1 }, fuzz::index::hnsw;
    index_sparse: Form::Edits { head: 1 }, fuzz::index::sparse;
    index_scalar: Form::Edits { head: 1 }, fuzz::index::scalar;
    manifest_decode: Form::Edits { head: 0 }, fuzz::stored::manifest;
    pointer_decode: Form::Edits { head: 0 }, fuzz::stored::pointer;
    delete_log: Form::Edits { head: 1 }, fuzz::stored::delete_log;
    catalog_decode: Form::Edits { head: 1 }, fuzz::stored::catalog;
    proto_field_data: Form::Bytes, fuzz::wire::field_data;
    placeholder: Form::Edits { head: 1 }, fuzz::wire::placeholder;
    proto_schema: Form::Bytes, fuzz::wire::schema;
    proto_template: Form::Bytes, fuzz::wire::template;
}
