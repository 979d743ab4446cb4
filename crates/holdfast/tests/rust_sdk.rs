//! A client that is not pymilvus: the Rust SDK of Milvus against the built binary.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use milvus::v2::prelude::*;
use serde_json::json;

/// More than the rows from which on a segment gets an index, so that the graph answers.
const ROWS: i64 = 1_500;
const COLLECTION: &str = "towns";
const READY_MAX: Duration = Duration::from_secs(60);

/// A server of this build over a directory of its own; it ends with this value.
struct Server {
    process: Child,
    uri: String,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HOLDFAST_")) {
            command.env_remove(name);
        }
        let mut process = command
            .arg("standalone")
            .arg("--data-dir")
            .arg(data.path())
            .args(["--grpc-address", "127.0.0.1:0"])
            .args(["--http-address", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let (found, ready) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end: a full pipe would stop the server.
            for line in stdout.lines().map_while(|line| line.ok()) {
                if let Some(words) = line.strip_prefix("holdfast ready ") {
                    let address = words.split(' ').find_map(|w| w.strip_prefix("grpc="));
                    found.send(address.map(str::to_owned)).ok();
                }
            }
        });
        // Made before the wait, so that a server that is never ready is ended too.
        let mut server = Self {
            process,
            uri: String::new(),
            _data: data,
        };
        // The sender goes away when the process ends, so a failed start is known at once.
        let address = ready
            .recv_timeout(READY_MAX)
            .expect("the server prints its ready line");
        server.uri = format!("http://{}", address.expect("the ready line names the port"));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn position(id: i64) -> Vec<f32> {
    [id, id * 7 % 13, id * 11 % 17, 1].map(|x| x as f32).into()
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

fn schema() -> CollectionSchema {
    CollectionSchema::new()
        .add_field(
            FieldSchema::new()
                .name("id")
                .data_type(DataType::Int64)
                .primary_key(true),
        )
        .add_field(
            FieldSchema::new()
                .name("name")
                .data_type(DataType::VarChar)
                .max_length(64),
        )
        .add_field(
            FieldSchema::new()
                .name("position")
                .data_type(DataType::FloatVector)
                .dimension(4),
        )
}

/// Inserts half of the rows as columns and half as JSON rows: the SDK encodes them on different paths.
async fn insert(client: &ClientV2) -> Result<()> {
    let half: Vec<i64> = (0..ROWS / 2).collect();
    let columns = vec![
        FieldData::int64("id", half.clone()),
        FieldData::varchar("name", half.iter().map(|id| format!("town {id}")).collect()),
        FieldData::float_vector("position", half.iter().map(|id| position(*id)).collect()),
    ];
    let rows: Vec<_> = (ROWS / 2..ROWS)
        .map(|id| json!({"id": id, "name": format!("town {id}"), "position": position(id)}))
        .collect();
    let to = || InsertRequest::builder().collection_name(COLLECTION);
    for request in [to().columns(columns), to().rows(rows)] {
        let inserted = client.insert(request.build()?).await?;
        assert_eq!(inserted.insert_count(), ROWS / 2);
    }
    Ok(())
}

async fn count(client: &ClientV2) -> Result<u64> {
    let counted = client
        .query(
            QueryRequest::builder()
                .collection_name(COLLECTION)
                .output_fields(["count(*)"])
                .consistency_level(ConsistencyLevel::Strong)
                .build()?,
        )
        .await?;
    Ok(counted.results().get_row_count())
}

/// The three towns nearest to `from` among those that pass `filter`, with their distances.
async fn nearest(client: &ClientV2, from: &[f32], filter: &str) -> Result<Vec<(i64, f32)>> {
    let found = client
        .search(
            SearchRequest::builder()
                .collection_name(COLLECTION)
                .vector_field("position")
                .vectors(SearchVectors::Float(vec![from.to_vec()]))
                .filter(filter)
                .output_fields(["name"])
                .extra_params(HashMap::from([("ef".into(), "64".into())]))
                .limit(3)
                .consistency_level(ConsistencyLevel::Strong)
                .build()?,
        )
        .await?;
    let [answer] = found.results().get_results() else {
        panic!("one query has one answer");
    };
    let Ids::Int64(ids) = answer.get_ids() else {
        panic!("the keys are integers");
    };
    for (row, id) in answer.rows()?.zip(ids) {
        assert_eq!(row.get_str("name")?, format!("town {id}"));
    }
    Ok(ids
        .iter()
        .copied()
        .zip(answer.get_scores().iter().copied())
        .collect())
}

fn exact(from: &[f32], passes: impl Fn(i64) -> bool) -> Vec<(i64, f32)> {
    let mut all: Vec<_> = (0..ROWS)
        .filter(|id| passes(*id))
        .map(|id| (id, squared_distance(from, &position(id))))
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all.truncate(3);
    all
}

async fn journey(client: &ClientV2) -> Result<()> {
    client
        .create_collection(
            CreateCollectionRequest::builder()
                .collection_name(COLLECTION)
                .schema(schema())
                .build()?,
        )
        .await?;
    insert(client).await?;
    client
        .flush(
            FlushRequest::builder()
                .collection_names([COLLECTION])
                .wait_flushed_ms(60_000)
                .build()?,
        )
        .await?;
    client
        .create_index(
            CreateIndexRequest::builder()
                .collection_name(COLLECTION)
                .index_param(
                    IndexParam::new()
                        .field_name("position")
                        .index_type(IndexType::Hnsw)
                        .metric_type(MetricType::L2)
                        .extra_params(HashMap::from([
                            ("M".into(), "16".into()),
                            ("efConstruction".into(), "100".into()),
                        ])),
                )
                .sync(true)
                .timeout_ms(60_000)
                .build()?,
        )
        .await?;
    client
        .load_collection(
            LoadCollectionRequest::builder()
                .collection_name(COLLECTION)
                .sync(true)
                .timeout_ms(60_000)
                .build()?,
        )
        .await?;
    assert_eq!(count(client).await?, ROWS as u64);

    let from = [700.25, 4.5, 8.0, 1.0];
    let anywhere = nearest(client, &from, "").await?;
    assert_eq!(anywhere, exact(&from, |_| true));
    let even = nearest(client, &from, "id % 2 == 0").await?;
    assert_eq!(even, exact(&from, |id| id % 2 == 0));

    let queried = client
        .query(
            QueryRequest::builder()
                .collection_name(COLLECTION)
                .filter("id in [3, 1499, 9999]")
                .output_fields(["id", "name", "position"])
                .consistency_level(ConsistencyLevel::Strong)
                .build()?,
        )
        .await?;
    let mut rows = queried.results().get_output_rows()?;
    rows.sort_by_key(|row| row["id"].as_i64());
    let expected = [3, 1_499]
        .map(|id| json!({"id": id, "name": format!("town {id}"), "position": position(id)}));
    assert_eq!(json!(rows), json!(expected));

    let gone = anywhere[0].0;
    client
        .delete(
            DeleteRequest::builder()
                .collection_name(COLLECTION)
                .filter(format!("id == {gone}"))
                .build()?,
        )
        .await?;
    assert_eq!(count(client).await?, ROWS as u64 - 1);
    let without = nearest(client, &from, "").await?;
    assert_eq!(without, exact(&from, |id| id != gone));

    client
        .drop_collection(
            DropCollectionRequest::builder()
                .collection_name(COLLECTION)
                .build()?,
        )
        .await?;
    let left = client
        .has_collection(
            HasCollectionRequest::builder()
                .collection_name(COLLECTION)
                .build()?,
        )
        .await?;
    assert!(!left.exists());
    match count(client).await {
        Err(Error::Server(refusal)) => assert_eq!(refusal.code(), 100, "{refusal}"),
        other => panic!("a dropped collection was counted: {other:?}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_creates_fills_searches_and_drops_a_collection() {
    let server = Server::start();
    let config = ConnectConfig::new()
        .uri(&server.uri)
        .rpc_timeout(Duration::from_secs(60));
    let client = ClientV2::new(&config).await.unwrap();
    journey(&client).await.unwrap();
}
