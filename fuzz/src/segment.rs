//! Files of sealed segments.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use holdfast_index::{Cancel, HnswParams, QueryVector, ScalarIndexKind, Within};
use holdfast_segment::{
    GrowingSegment, IndexBuild, IndexFile, KeySet, QuerySpec, SealedSegment, SearchParams,
    SearchSpec, SegmentFile, build_index,
};
use holdfast_types::{
    CollectionSchema, DataType, FieldId, FileRole, IndexId, Lsn, Metric, PartitionId, Pk, PkList,
    RowIdx, SegmentId, Timestamp,
};

use crate::{checksums, edits, sample};

/// A valid segment.
struct Valid {
    schema: Arc<CollectionSchema>,
    files: Vec<SegmentFile>,
    indexes: Vec<IndexFile>,
}

const ROWS: i64 = 70;

fn valid(key: DataType) -> Valid {
    let schema = sample::schema(key);
    let growing = GrowingSegment::new(SegmentId(1), PartitionId(1), Arc::clone(&schema));
    let rows = sample::rows(&schema, ROWS);
    growing
        .append(&rows, Timestamp(10), Lsn(1))
        .expect("the rows are of the schema");
    let old = match key {
        DataType::Int64 => PkList::Int(vec![3, 5]),
        _ => PkList::Str(vec!["key-0003".into()]),
    };
    growing.delete(&old, Timestamp(20));
    growing
        .append(&rows.slice(5, 2), Timestamp(30), Lsn(2))
        .expect("the rows are of the schema");
    let files = growing
        .seal(&Cancel::new())
        .expect("the rows can be written")
        .files;
    let sealed = open(&schema, files.clone(), Vec::new()).expect("what was written can be read");
    let hnsw = IndexBuild::Hnsw {
        metric: Metric::L2,
        params: HnswParams {
            m: 4,
            ef_construction: 16,
        },
    };
    let scalar = IndexBuild::Scalar(ScalarIndexKind::Inverted);
    let one_thread = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let wanted = [
        (sample::VECTOR, hnsw),
        (sample::SPARSE, IndexBuild::Sparse),
        (FieldId(104), scalar.clone()),
        (FieldId(108), scalar.clone()),
        (FieldId(110), scalar),
    ];
    let indexes = (1..)
        .zip(wanted)
        .map(|(id, (field, build))| IndexFile {
            index: IndexId(id),
            field,
            name: format!("index-{id}"),
            bytes: one_thread
                .install(|| build_index(&sealed, field, &build, &Cancel::new()))
                .expect("the index can be built"),
            build,
        })
        .collect();
    Valid {
        schema,
        files,
        indexes,
    }
}

static VALID: LazyLock<[Valid; 2]> =
    LazyLock::new(|| [DataType::Int64, DataType::VarChar].map(valid));

fn open(
    schema: &Arc<CollectionSchema>,
    files: Vec<SegmentFile>,
    indexes: Vec<IndexFile>,
) -> Option<SealedSegment> {
    let schema = Arc::clone(schema);
    SealedSegment::open(SegmentId(1), PartitionId(1), schema, files, indexes).ok()
}

/// Asks everything of a segment that was accepted.
fn ask(segment: &SealedSegment) {
    let cancel = &Cancel::new();
    let schema = segment.schema();
    let filters = [
        "",
        "count in [1, 5] or text like 't%' and not (score > 3.5)",
        "array_contains(ints, 2) or count is null or text == 't1'",
        "doc['a'] > 3 and json_contains(doc['b'], 'x')",
    ];
    let fields: Vec<FieldId> = schema.fields.iter().map(|f| f.id).collect();
    for text in filters {
        let filter =
            holdfast_expr::parse(text, &schema, &Default::default()).expect("the filter is right");
        let filter = Some(Arc::new(filter));
        for at in [Timestamp(15), Timestamp::MAX] {
            let spec = QuerySpec {
                filter: filter.clone(),
                keys: None,
                fields: fields.clone(),
                limit: Some(10),
                after: None,
                at,
                ttl_before: None,
            };
            drop(segment.query(&spec, cancel));
            drop(segment.count(&spec, cancel));
            for (field, metric, query) in [
                (
                    sample::VECTOR,
                    Metric::L2,
                    QueryVector::F32(vec![0.25; sample::DIM]),
                ),
                (
                    sample::SPARSE,
                    Metric::Ip,
                    QueryVector::Sparse(vec![(0, 1.0), (3, 0.5)]),
                ),
            ] {
                let spec = SearchSpec {
                    field,
                    metric,
                    queries: vec![query].into(),
                    top_k: 5,
                    params: SearchParams::default(),
                    within: Within::ALL,
                    filter: filter.clone(),
                    group_by: None,
                    at,
                    ttl_before: None,
                };
                drop(segment.search(&spec, cancel));
            }
        }
    }
    let last = u32::try_from(segment.len() - 1).expect("segments have fewer rows than 2^32");
    drop(segment.fetch(&[RowIdx(0), RowIdx(last)], &fields));
    segment.delete(&PkList::Int(vec![0, 6, i64::MAX]), Timestamp(40));
    segment.delete(&PkList::Str(vec!["key-0006".into()]), Timestamp(40));
}

/// Opens a segment of which one file, or index file, is the input.
fn open_with(input: &[u8], part: impl Fn(&Valid, u8) -> usize) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let valid = &VALID[usize::from(which & 1)];
    let (mut files, mut indexes) = (valid.files.clone(), valid.indexes.clone());
    let part = part(valid, which >> 1);
    if let Some(file) = files.get_mut(part) {
        let repair = match file.role {
            FileRole::Columns | FileRole::Vector(_) => checksums::arrow,
            FileRole::Keys | FileRole::Deletes => checksums::frame,
        };
        file.bytes = edits::file(&file.bytes, input, repair).into();
    } else {
        let file = &mut indexes[part - valid.files.len()];
        file.bytes = edits::file(&file.bytes, input, checksums::index).into();
    }
    if let Some(segment) = open(&valid.schema, files, indexes) {
        ask(&segment);
    }
}

fn with_role(role: FileRole) -> impl Fn(&Valid, u8) -> usize {
    move |valid, _| {
        valid
            .files
            .iter()
            .position(|f| f.role == role)
            .expect("every segment has it")
    }
}

/// The scalar columns.
pub fn columns(input: &[u8]) {
    open_with(input, with_role(FileRole::Columns));
}

/// The deletes.
pub fn deletes(input: &[u8]) {
    open_with(input, with_role(FileRole::Deletes));
}

/// The keys, on their own as a flush reads them, and in their segment.
pub fn keys(input: &[u8]) {
    if let Some((&which, rest)) = input.split_first() {
        let valid = &VALID[usize::from(which & 1)];
        let file = &valid.files[with_role(FileRole::Keys)(valid, 0)];
        let bytes = Bytes::from(edits::file(&file.bytes, rest, checksums::frame));
        if let Ok(keys) = KeySet::open("keys", &bytes) {
            for key in [
                Pk::Int(0),
                Pk::Int(i64::MIN),
                Pk::Str("key-0006".into()),
                Pk::Str("".into()),
            ] {
                let _found = keys.contains(&key);
            }
        }
    }
    open_with(input, with_role(FileRole::Keys));
}

/// Any one file or index file of a segment.
pub fn whole(input: &[u8]) {
    open_with(input, |valid, which| {
        usize::from(which) % (valid.files.len() + valid.indexes.len())
    });
}
