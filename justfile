# A menu. `just` lists it.

default:
    @just --list

# Everything, as CI does
test:
    scripts/test

# Everything but the long end-to-end tests
quick:
    scripts/test quick

# Format, lints and the checks of the house
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --features holdfast-fuzz/libfuzzer -- -D warnings
    cargo test -q -p holdfast-tidy

# Tests of one crate: just unit expr
unit crate:
    cargo test -p holdfast-{{crate}}

# End-to-end tests, with words for pytest: just e2e -k filters
e2e *words:
    scripts/test e2e {{words}}

# Crash the server again and again, with a seed of your own
crash seed="1":
    HOLDFAST_CRASH_SEED={{seed}} scripts/test e2e -n 0 -k kill_9 -s

# Explore the model of the quorum log: just model small | large | mutants | show WORD
model *words:
    cargo run --release -p holdfast-wal-model -- {{words}}

# Simulate the quorum log: just sim --seeds 100000, or just sim --seed 17 --trace
sim *words:
    cargo run --release -p holdfast-wal-sim -- {{words}}

# The wired quorum log on a simulated network: just turmoil --seeds 1000, or just turmoil --seed 17 --trace
turmoil *words:
    cargo run -p holdfast-wal-turmoil -- {{words}}

# Log-nodes as processes under random faults, for half an hour unless told otherwise: just drill --seconds 600 --seed 7
drill *flags="--seconds 1800":
    cargo build -p holdfast -p holdfast-wal-drill
    target/debug/holdfast-wal-drill faults {{flags}}

# The quorum log beside the hardware: just drill-bench --dir FOLDER
drill-bench *flags:
    cargo build --release -p holdfast -p holdfast-wal-drill
    target/release/holdfast-wal-drill bench {{flags}}

# Start a server on ./holdfast-data
run *flags:
    cargo run --release -- standalone {{flags}}

# Real embeddings against a running server
embeddings *flags:
    .venv/bin/python examples/real_embeddings.py {{flags}}

# Measure a release build beside milvus-lite: just bench --data FOLDER --rows 20000
bench *flags:
    cargo build --profile dist --bin holdfast
    .venv/bin/pip install --quiet -r benches/requirements.txt
    .venv/bin/python benches/run.py --bin target/dist/holdfast {{flags}}

# Rewrite all formatting
format:
    cargo fmt --all
    .venv/bin/ruff format tests examples benches
    .venv/bin/ruff check --fix tests examples benches

# The container image
image:
    docker build -f docker/Dockerfile -t holdfast .
