//! What clients ask, and what they get.

use holdfast_types::{DataType, schema::FIRST_USER_FIELD};

use super::*;
use crate::tests::fixtures::{field, schema};

/// A field of each type, by the name the tables use.
fn field_of(name: &str) -> FieldSchema {
    let data_type = match name {
        "float" => DataType::FloatVector,
        "half" => DataType::Float16Vector,
        "bhalf" => DataType::BFloat16Vector,
        "int8v" => DataType::Int8Vector,
        "binary" => DataType::BinaryVector,
        "sparse" => DataType::SparseFloatVector,
        "pk" | "int" => DataType::Int64,
        "bool" => DataType::Bool,
        "double" => DataType::Double,
        "text" => DataType::VarChar,
        "json" => DataType::Json,
        "ints" | "doubles" => DataType::Array,
        _ => panic!("no field {name}"),
    };
    let mut field = field(name, data_type);
    field.id = FIRST_USER_FIELD;
    field.is_primary = name == "pk";
    match name {
        "ints" => field.element_type = Some(DataType::Int32),
        "doubles" => field.element_type = Some(DataType::Double),
        "float" => field.dim = Some(8),
        _ => {}
    }
    field
}

/// `index_type key=value ...`; an index type of `-` is left out.
fn params(text: &str) -> Vec<(String, String)> {
    text.split(' ')
        .filter(|word| *word != "-")
        .map(|word| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (INDEX_TYPE.to_owned(), word.to_owned()),
        })
        .collect()
}

fn resolved(field: &str, asked: &str) -> Result<Resolved, Failure> {
    let field = field_of(field);
    let mut schema = schema();
    schema.fields = vec![field.clone()];
    resolve(&field, &schema, &params(asked))
}

/// What is built, in short.
fn shown(r: &Resolved) -> String {
    let metric = r.metric.map_or(String::new(), |m| format!(" {m}"));
    let kind = match r.kind {
        IndexKind::Hnsw { m, ef_construction } => format!("hnsw {m} {ef_construction}"),
        IndexKind::Flat => "flat".to_owned(),
        IndexKind::BinFlat => "bin_flat".to_owned(),
        IndexKind::SparseInverted => "sparse".to_owned(),
        IndexKind::Inverted => "inverted".to_owned(),
        IndexKind::Bitmap => "bitmap".to_owned(),
        IndexKind::StlSort => "sort".to_owned(),
    };
    let json = r
        .json_path
        .as_ref()
        .map_or(String::new(), |p| format!(" {} {}", r.suffix, p.cast));
    format!("{kind}{metric}{json}")
}

#[test]
fn every_known_index_type_is_served() {
    let cases = [
        ("float", "FLAT metric_type=L2", "flat L2"),
        ("float", "FLAT", "flat COSINE"),
        ("float", "AUTOINDEX", "hnsw 16 200 COSINE"),
        ("float", "-", "hnsw 16 200 COSINE"),
        ("float", "- metric_type=IP", "hnsw 16 200 IP"),
        (
            "float",
            "AUTOINDEX metric_type=cosine params={}",
            "hnsw 16 200 COSINE",
        ),
        ("float", "HNSW M=2 efConstruction=1", "hnsw 2 1 COSINE"),
        (
            "float",
            "HNSW metric_type=L2 params={\"M\":32,\"efConstruction\":360}",
            "hnsw 32 360 L2",
        ),
        ("float", "HNSW params={\"M\":\"48\"}", "hnsw 48 200 COSINE"),
        ("float", "HNSW params={\"M\":8} M=9", "hnsw 9 200 COSINE"),
        (
            "float",
            "HNSW M=2048 efConstruction=2147483647",
            "hnsw 2048 2147483647 COSINE",
        ),
        (
            "float",
            "HNSW_SQ sq_type=SQ8 refine=true refine_type=FP16 M=20",
            "hnsw 20 200 COSINE",
        ),
        ("float", "HNSW_PQ m=4 nbits=8", "hnsw 16 200 COSINE"),
        ("float", "HNSW_PRQ m=4 nrq=2", "hnsw 16 200 COSINE"),
        ("float", "IVF_FLAT nlist=128", "hnsw 16 200 COSINE"),
        ("float", "IVF_SQ8 nlist=65536", "hnsw 16 200 COSINE"),
        ("float", "IVF_PQ nlist=1 m=8 nbits=8", "hnsw 16 200 COSINE"),
        ("float", "IVF_RABITQ refine=false", "hnsw 16 200 COSINE"),
        (
            "float",
            "SCANN nlist=64 with_raw_data=True",
            "hnsw 16 200 COSINE",
        ),
        ("float", "DISKANN", "hnsw 16 200 COSINE"),
        ("float", "GPU_IVF_FLAT", "hnsw 16 200 COSINE"),
        (
            "float",
            "GPU_CAGRA build_algo=NN_DESCENT",
            "hnsw 16 200 COSINE",
        ),
        ("float", "GPU_BRUTE_FORCE metric_type=IP", "flat IP"),
        ("half", "HNSW M=4", "hnsw 4 200 COSINE"),
        ("bhalf", "FLAT metric_type=L2", "flat L2"),
        ("int8v", "HNSW metric_type=COSINE", "hnsw 16 200 COSINE"),
        ("binary", "BIN_FLAT metric_type=HAMMING", "bin_flat HAMMING"),
        (
            "binary",
            "BIN_IVF_FLAT metric_type=JACCARD nlist=10",
            "bin_flat JACCARD",
        ),
        ("binary", "AUTOINDEX", "bin_flat HAMMING"),
        (
            "sparse",
            "SPARSE_INVERTED_INDEX metric_type=IP drop_ratio_build=0.2",
            "sparse IP",
        ),
        (
            "sparse",
            "SPARSE_WAND inverted_index_algo=DAAT_MAXSCORE",
            "sparse IP",
        ),
        ("sparse", "AUTOINDEX", "sparse IP"),
        ("bool", "AUTOINDEX", "bitmap"),
        ("int", "-", "sort"),
        ("double", "AUTOINDEX", "sort"),
        ("text", "AUTOINDEX", "inverted"),
        ("ints", "AUTOINDEX", "inverted"),
        ("pk", "INVERTED", "inverted"),
        ("double", "INVERTED", "inverted"),
        ("text", "Trie", "inverted"),
        ("text", "BITMAP", "bitmap"),
        ("int", "BITMAP mmap.enabled=true", "bitmap"),
        ("ints", "BITMAP", "bitmap"),
        ("int", "STL_SORT", "sort"),
        ("text", "STL_SORT", "sort"),
        (
            "json",
            "INVERTED json_cast_type=double json_path=json[\"a\"][\"b\"]",
            "inverted /a/b Double",
        ),
        (
            "json",
            "AUTOINDEX json_cast_type=VARCHAR json_path=json[\"a\"][0]",
            "inverted /a/0 VarChar",
        ),
        (
            "json",
            "- params={\"json_cast_type\":\"BOOL\",\"json_path\":\"json['x']\"}",
            "inverted /x Bool",
        ),
    ];
    for (field, asked, expect) in cases {
        match resolved(field, asked) {
            Ok(r) => assert_eq!(shown(&r), expect, "{field}: {asked}"),
            Err(e) => panic!("{field}: {asked}: {e}"),
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_parameter_named() {
    let cases = [
        (
            "float",
            "HNSW M=1",
            "param 'M' (1) should be in range [2, 2048]",
        ),
        (
            "float",
            "HNSW M=2049",
            "param 'M' (2049) should be in range [2, 2048]",
        ),
        (
            "float",
            "HNSW M=16a",
            "wrong data type in json, key: 'M', value: '16a', expected: integer",
        ),
        (
            "float",
            "HNSW M=16.5",
            "wrong data type in json, key: 'M', value: '16.5', expected: integer",
        ),
        (
            "float",
            "HNSW params={\"M\":true}",
            "wrong data type in json, key: 'M', value: 'true', expected: integer",
        ),
        (
            "float",
            "HNSW efConstruction=0",
            "param 'efConstruction' (0) should be in range [1, 2147483647]",
        ),
        (
            "float",
            "HNSW efConstruction=-1",
            "param 'efConstruction' (-1) should be in range [1, 2147483647]",
        ),
        (
            "float",
            "HNSW efConstruction=2147483648",
            "param 'efConstruction' (2147483648) should be in range [1, 2147483647]",
        ),
        (
            "float",
            "IVF_FLAT nlist=0",
            "param 'nlist' (0) should be in range [1, 65536]",
        ),
        (
            "float",
            "SCANN nlist=65537",
            "param 'nlist' (65537) should be in range [1, 65536]",
        ),
        (
            "binary",
            "BIN_IVF_FLAT nlist=0",
            "param 'nlist' (0) should be in range [1, 65536]",
        ),
        (
            "float",
            "IVF_PQ m=3",
            "dimension must be able to be divided by `m`, dimension: 8, m: 3",
        ),
        (
            "float",
            "IVF_PQ m=0",
            "param 'm' (0) should be in range [1, 65536]",
        ),
        (
            "float",
            "IVF_PQ nbits=65",
            "param 'nbits' (65) should be in range [1, 24]",
        ),
        (
            "float",
            "HNSW_SQ sq_type=SQ7",
            "param 'sq_type' (SQ7) should be one of [SQ4U, SQ6, SQ8, FP16, BF16, FP32]",
        ),
        (
            "float",
            "IVF_RABITQ refine=perhaps",
            "invalid refine value: perhaps, expected: true, false",
        ),
        (
            "float",
            "HNSW params=[1]",
            "invalid index params: params is not a JSON object: invalid type: sequence, expected a map at line 1 column 0",
        ),
        (
            "float",
            "AUTOINDEX M=16",
            "only metric type can be passed when use AutoIndex",
        ),
        (
            "float",
            "FLAT metric_type=HAMMING",
            "float vector index does not support metric type: HAMMING",
        ),
        (
            "half",
            "HNSW metric_type=nonsense",
            "float vector index does not support metric type: nonsense",
        ),
        (
            "int8v",
            "HNSW metric_type=JACCARD",
            "int vector index does not support metric type: JACCARD",
        ),
        (
            "binary",
            "BIN_FLAT metric_type=L2",
            "binary vector index does not support metric type: L2",
        ),
        (
            "sparse",
            "AUTOINDEX metric_type=L2",
            "only IP&BM25 is the supported metric type for sparse index, not L2",
        ),
        (
            "sparse",
            "SPARSE_WAND drop_ratio_build=1",
            "param 'drop_ratio_build' (1) should be in range [0.0, 1.0)",
        ),
        (
            "sparse",
            "SPARSE_WAND drop_ratio_build=NaN",
            "param 'drop_ratio_build' (NaN) should be in range [0.0, 1.0)",
        ),
        (
            "sparse",
            "SPARSE_WAND drop_ratio_build=x",
            "wrong data type in json, key: 'drop_ratio_build', value: 'x', expected: float",
        ),
        (
            "sparse",
            "SPARSE_INVERTED_INDEX inverted_index_algo=FAST",
            "param 'inverted_index_algo' (FAST) should be one of [TAAT_NAIVE, DAAT_WAND, DAAT_MAXSCORE]",
        ),
        ("float", "HNSWX", "invalid index type: HNSWX"),
        ("float", "hnsw", "invalid index type: hnsw"),
        ("int", "NO_SUCH", "invalid index type: NO_SUCH"),
        (
            "float",
            "BIN_FLAT",
            "data type FloatVector can't build with this index BIN_FLAT",
        ),
        (
            "float",
            "INVERTED",
            "data type FloatVector can't build with this index INVERTED",
        ),
        (
            "binary",
            "HNSW",
            "data type BinaryVector can't build with this index HNSW",
        ),
        (
            "sparse",
            "FLAT",
            "data type SparseFloatVector can't build with this index FLAT",
        ),
        (
            "text",
            "HNSW",
            "data type VarChar can't build with this index HNSW",
        ),
        (
            "pk",
            "BITMAP",
            "create bitmap index on primary key not supported",
        ),
        (
            "double",
            "BITMAP",
            "bitmap index are only supported on bool, int, string and array field",
        ),
        (
            "json",
            "BITMAP",
            "bitmap index are only supported on bool, int, string and array field",
        ),
        (
            "doubles",
            "BITMAP",
            "bitmap index are only supported on bool, int, string for array field",
        ),
        (
            "bool",
            "STL_SORT",
            "STL_SORT are only supported on numeric or varchar field",
        ),
        (
            "ints",
            "STL_SORT",
            "STL_SORT are only supported on numeric or varchar field",
        ),
        ("int", "Trie", "TRIE are only supported on varchar field"),
        (
            "json",
            "INVERTED",
            "json index must specify cast type: json_cast_type is missing",
        ),
        (
            "json",
            "INVERTED json_cast_type=DOUBLE",
            "json index must specify the path: json_path is missing",
        ),
        (
            "json",
            "INVERTED json_cast_type=INT64 json_path=json[\"a\"]",
            "json_cast_type INT64 is not supported",
        ),
        (
            "json",
            "INVERTED json_cast_type=DOUBLE json_path=json",
            "invalid json_path json: it names the whole field, not a value in it",
        ),
        (
            "int",
            "INVERTED mmap.enabled=maybe",
            "invalid mmap.enabled value: maybe, expected: true, false",
        ),
    ];
    for (field, asked, expect) in cases {
        let failure = resolved(field, asked).expect_err(asked);
        assert_eq!(failure.message, expect, "{field}: {asked}");
        assert_eq!(failure.code, Code::InvalidArgument, "{field}: {asked}");
    }
    for path in ["json[", "other[\"a\"]", "1", ""] {
        let asked = format!("INVERTED json_cast_type=DOUBLE json_path={path}");
        assert_eq!(
            resolved("json", &asked).expect_err(path).code,
            Code::InvalidArgument,
            "{path}"
        );
    }
}

#[test]
fn what_others_have_and_holdfast_has_not_is_refused_as_such() {
    for (field, asked) in [
        ("text", "NGRAM"),
        ("int", "HYBRID"),
        ("json", "RTREE"),
        ("binary", "MINHASH_LSH"),
        ("binary", "BIN_FLAT metric_type=SUBSTRUCTURE"),
        ("sparse", "SPARSE_INVERTED_INDEX metric_type=BM25"),
        (
            "json",
            "INVERTED json_cast_type=ARRAY_DOUBLE json_path=json[\"a\"]",
        ),
        ("json", "INVERTED json_cast_type=JSON json_path=json[\"a\"]"),
    ] {
        let failure = resolved(field, asked).expect_err(asked);
        assert_eq!(failure.code, Code::Unsupported, "{field}: {asked}");
    }
}

#[test]
fn what_was_asked_is_kept_and_completed() {
    let check = |text: &str, expect: &str| {
        let asked = resolved("float", text).unwrap().asked;
        assert_eq!(asked, params(expect), "{text}");
    };
    check(
        "IVF_FLAT metric_type=L2 nlist=7",
        "IVF_FLAT metric_type=L2 nlist=7",
    );
    check("- metric_type=L2", "metric_type=L2 AUTOINDEX");
    check("FLAT params={}", "FLAT params={} metric_type=COSINE");
    check("index_type= metric_type=", "AUTOINDEX metric_type=COSINE");
}

#[test]
fn the_same_wish_in_other_words_is_the_same() {
    let same = |a: &str, b: &str| same_asked(&params(a), &params(b));
    assert!(same("HNSW M=16 params={\"M\":16}", "M=16 index_type=HNSW"));
    assert!(same(
        "HNSW M=16 mmap.enabled=true",
        "HNSW params={\"M\":16,\"mmap.enabled\":false}"
    ));
    assert!(!same("IVF_FLAT nlist=1", "IVF_FLAT nlist=2"));
    assert!(!same("HNSW", "IVF_FLAT"));
}

#[test]
fn endless_parameters_are_refused() {
    let asked = [(PARAMS.to_owned(), "[".repeat(PARAMS_BYTES_MAX + 1))];
    let field = field_of("float");
    let failure = resolve(&field, &schema(), &asked).unwrap_err();
    assert_eq!(
        failure.message,
        "index params of 65543 bytes are more than 65536"
    );
}
