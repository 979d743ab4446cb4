//! Tests of `kernel`.

use half::{bf16, f16};
use proptest::prelude::*;

use super::*;

struct All(usize);

impl Scan for All {
    type Out = Vec<f32>;
    fn run(self, distance: impl Fn(usize) -> f32) -> Vec<f32> {
        (0..self.0).map(distance).collect()
    }
}

fn distance(data: &VectorData<'_>, query: &QueryVector, metric: Metric) -> f32 {
    with_distance(data, query, metric, All(1))[0]
}

/// An f32 sum of `dim` products is off by at most about `dim` roundings of the sum of their sizes. Products
/// below the normal numbers lose digits, which `floor` covers.
#[track_caller]
fn close(got: f32, exact: f64, size: f64, dim: usize, floor: f64) {
    if size > 1e38 {
        return; // f32 may overflow to infinity on the way; `ordered` keeps the result from being NaN.
    }
    let bound = size * (dim as f64 + 4.0) * 1.2e-7 + floor;
    assert!(
        (f64::from(got) - exact).abs() <= bound,
        "{got} is not {exact} within {bound}"
    );
}

fn size_of(a: &[f32], b: &[f32], metric: Metric) -> f64 {
    let pairs = a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
    match metric {
        Metric::L2 => pairs.map(|(x, y)| x * x + y * y).sum(),
        Metric::Cosine => 1.0,
        _ => pairs.map(|(x, y)| (x * y).abs()).sum(),
    }
}

fn exact_of(a: &[f32], b: &[f32], metric: Metric) -> f64 {
    match metric {
        Metric::L2 => scalar::l2(a, b.iter().copied()),
        Metric::Cosine => -scalar::cosine(a, b.iter().copied()),
        _ => -scalar::dot(a, b.iter().copied()),
    }
}

const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

fn check_floats(a: &[f32], b: &[f32]) {
    let dim = a.len();
    for metric in METRICS {
        let got = distance(
            &VectorData::F32 { dim, data: b },
            &QueryVector::F32(a.to_vec()),
            metric,
        );
        assert!(!got.is_nan());
        close(
            got,
            exact_of(a, b, metric),
            size_of(a, b, metric),
            dim,
            1e-37,
        );

        let (ha, hb): (Vec<f16>, Vec<f16>) = a
            .iter()
            .zip(b)
            .map(|(&x, &y)| {
                (
                    f16::from_f32(x.clamp(-6e4, 6e4)),
                    f16::from_f32(y.clamp(-6e4, 6e4)),
                )
            })
            .unzip();
        let (a16, b16): (Vec<f32>, Vec<f32>) = ha
            .iter()
            .zip(&hb)
            .map(|(x, y)| (x.to_f32(), y.to_f32()))
            .unzip();
        let got = distance(
            &VectorData::F16 { dim, data: &hb },
            &QueryVector::F16(ha),
            metric,
        );
        close(
            got,
            exact_of(&a16, &b16, metric),
            size_of(&a16, &b16, metric),
            dim,
            1e-37,
        );

        let (ba, bb): (Vec<bf16>, Vec<bf16>) = a
            .iter()
            .zip(b)
            .map(|(&x, &y)| (bf16::from_f32(x), bf16::from_f32(y)))
            .unzip();
        let (a16, b16): (Vec<f32>, Vec<f32>) = ba
            .iter()
            .zip(&bb)
            .map(|(x, y)| (x.to_f32(), y.to_f32()))
            .unzip();
        let got = distance(
            &VectorData::Bf16 { dim, data: &bb },
            &QueryVector::Bf16(ba),
            metric,
        );
        assert!(!got.is_nan());
        close(
            got,
            exact_of(&a16, &b16, metric),
            size_of(&a16, &b16, metric),
            dim,
            1e-37,
        );
    }
}

fn float() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -2.0_f32..2.0,
        1 => Just(0.0),
        1 => -1e-40_f32..1e-40,
        1 => -1e18_f32..1e18,
        1 => prop_oneof![Just(3e38), Just(-3e38), Just(f32::MIN_POSITIVE)],
    ]
}

fn tame() -> impl Strategy<Value = f32> {
    -2.0_f32..2.0
}

fn pairs<T: Clone + std::fmt::Debug>(
    element: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = (Vec<T>, Vec<T>)> {
    (1_usize..=100).prop_flat_map(move |dim| {
        (
            proptest::collection::vec(element.clone(), dim),
            proptest::collection::vec(element.clone(), dim),
        )
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn kernels_agree_with_f64_on_everyday_values((a, b) in pairs(tame().boxed())) {
        check_floats(&a, &b);
    }

    #[test]
    fn kernels_agree_with_f64_on_extreme_values((a, b) in pairs(float().boxed())) {
        check_floats(&a, &b);
    }

    #[test]
    fn i8_kernels_are_exact((a, b) in pairs(any::<i8>())) {
        let dim = a.len();
        let pair = || a.iter().zip(&b).map(|(&x, &y)| (i64::from(x), i64::from(y)));
        let data = VectorData::I8 { dim, data: &b };
        let query = QueryVector::I8(a.clone());
        prop_assert_eq!(distance(&data, &query, Metric::L2), pair().map(|(x, y)| (x - y).pow(2)).sum::<i64>() as f32);
        prop_assert_eq!(distance(&data, &query, Metric::Ip), ordered(-(pair().map(|(x, y)| x * y).sum::<i64>() as f32)));
        let wide = |v: &[i8]| v.iter().map(|&x| f32::from(x)).collect::<Vec<_>>();
        let exact = -scalar::cosine(&wide(&a), wide(&b));
        prop_assert!((f64::from(distance(&data, &query, Metric::Cosine)) - exact).abs() < 1e-6);
    }

    #[test]
    fn bit_kernels_agree_with_their_plain_twin((a, b) in pairs(any::<u8>())) {
        let (fast, plain) = (dense::Bits::detect(), dense::Bits::plain());
        prop_assert_eq!(fast.hamming(&a, &b), plain.hamming(&a, &b));
        prop_assert_eq!(fast.jaccard(&a, &b), plain.jaccard(&a, &b));
        let naive: u32 = a.iter().zip(&b).map(|(x, y)| (x ^ y).count_ones()).sum();
        prop_assert_eq!(fast.hamming(&a, &b), u64::from(naive));
    }
}

#[test]
fn every_half_precision_path_of_this_processor_agrees() {
    let row = || (0..77).map(|i| (i as f32).cos() * 30.0);
    half_precision_paths_agree(&row().map(f16::from_f32).collect::<Vec<_>>());
    half_precision_paths_agree(&row().map(bf16::from_f32).collect::<Vec<_>>());
}

fn half_precision_paths_agree<T: Narrow>(row: &[T]) {
    let query: Vec<f32> = (0..77).map(|i| (i as f32).sin()).collect();
    #[cfg(target_arch = "x86_64")]
    let mut paths = vec![half16::Half16::detect(), half16::Half16::Plain];
    #[cfg(not(target_arch = "x86_64"))]
    let paths = vec![half16::Half16::detect(), half16::Half16::Plain];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("fma")
    {
        paths.push(half16::Half16::F16c);
    }
    for len in 0..=77 {
        let (q, r) = (&query[..len], &row[..len]);
        let wide = || r.iter().map(|x| x.wide());
        for path in &paths {
            close(path.dot(q, r), scalar::dot(q, wide()), 1e3, 77, 0.0);
            close(path.l2(q, r), scalar::l2(q, wide()), 4e4, 77, 0.0);
            close(
                path.norm(r),
                wide().map(|x| f64::from(x).powi(2)).sum(),
                4e4,
                77,
                0.0,
            );
        }
    }
}

#[test]
fn large_half_precision_sums_do_not_overflow() {
    let row = vec![f16::from_f32(10.0); 768];
    let data = VectorData::F16 {
        dim: 768,
        data: &row,
    };
    assert_eq!(
        distance(&data, &QueryVector::F16(row.clone()), Metric::Ip),
        -76_800.0
    );
}

#[test]
fn nan_is_infinitely_far() {
    let data = VectorData::F32 {
        dim: 2,
        data: &[f32::NAN, 1.0],
    };
    for metric in METRICS {
        assert_eq!(
            distance(&data, &QueryVector::F32(vec![1.0, 1.0]), metric),
            f32::INFINITY
        );
    }
}

#[test]
#[should_panic(expected = "query vector has 3 dimensions")]
fn a_query_of_another_dimension_is_a_defect_of_the_caller() {
    distance(
        &VectorData::F32 {
            dim: 2,
            data: &[0.0; 2],
        },
        &QueryVector::F32(vec![0.0; 3]),
        Metric::L2,
    );
}
