//! RRF and weighted ranking: pure.
//!
//! RRF: Cormack, Clarke, Büttcher, *Reciprocal Rank Fusion outperforms Condorcet and individual rank
//! learning methods*, SIGIR 2009.

use std::{collections::HashMap, f32::consts::PI};

use holdfast_proto::kv::Params;
use holdfast_segment::Hit;
use holdfast_types::{Failure, Metric, Pk};

/// How the lists of several searches become one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ranker {
    /// Sum of 1 / (k + rank), ranks from 1.
    Rrf { k: f32 },
    /// Weighted sum of scores.
    Weighted { weights: Vec<f32>, normalize: bool },
}

/// A hit after ranking.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranked {
    /// Larger is better, unless [`Order::Ascending`].
    pub(crate) score: f32,
    pub(crate) hit: Hit,
}

/// Which way ranked scores run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Best score is the largest.
    Descending,
    /// Best score is the smallest: weighted distances that were not normalized.
    Ascending,
}

impl Ranker {
    /// Reads the ranker's name and parameters; `searches` is how many lists there will be.
    pub(crate) fn of(params: &Params, searches: usize) -> Result<Self, Failure> {
        match params
            .text("strategy")
            .or_else(|| params.text("reranker"))
            .unwrap_or("rrf")
        {
            "rrf" => {
                let k = params.number::<f32>("k")?.unwrap_or(60.0);
                if k > 0.0 && k < 16_384.0 {
                    Ok(Self::Rrf { k })
                } else {
                    Err(params.invalid(
                        "k",
                        format_args!(
                            "the rank params k should be in range (0, 16384), but got {k}"
                        ),
                    ))
                }
            }
            "weighted" => {
                let text = params
                    .text("weights")
                    .ok_or_else(|| params.invalid("weights", "not found"))?;
                let weights: Vec<f32> = serde_json::from_str(text).map_err(|e| {
                    params.invalid("weights", format_args!("not a list of numbers: {e}"))
                })?;
                if weights.len() != searches {
                    return Err(params.invalid(
                        "weights",
                        format_args!("the length of weights param mismatch with ann search requests: invalid parameter[expected={searches}][actual={}]", weights.len()),
                    ));
                }
                if let Some(weight) = weights.iter().find(|w| !(0.0..=1.0).contains(*w)) {
                    return Err(params.invalid(
                        "weights",
                        format_args!(
                            "rank param weight should be in range [0, 1], but got {weight}"
                        ),
                    ));
                }
                Ok(Self::Weighted {
                    weights,
                    normalize: params.boolean("norm_score")?.unwrap_or(false),
                })
            }
            other => Err(params.invalid(
                "strategy",
                format_args!("unsupported rank type {other:?}: rrf and weighted are built"),
            )),
        }
    }

    /// Ranks the lists of one query vector together; best first, ties by key.
    pub(crate) fn rank(&self, lists: Vec<(Metric, Vec<Hit>)>) -> (Order, Vec<Ranked>) {
        let order = self.order(lists.iter().map(|(m, _)| *m));
        let mixed = lists.iter().any(|(m, _)| m.larger_is_closer())
            && lists.iter().any(|(m, _)| !m.larger_is_closer());
        let mut ranked: HashMap<Pk, Ranked> = HashMap::new();
        for (i, (metric, hits)) in lists.into_iter().enumerate() {
            for (rank, hit) in (1u16..).zip(hits) {
                let more = match self {
                    Self::Rrf { k } => 1.0 / (k + f32::from(rank)),
                    Self::Weighted { weights, normalize } => {
                        let score = metric.score(hit.distance);
                        let convert = *normalize || (mixed && !metric.larger_is_closer());
                        weights[i]
                            * if convert {
                                normalized(metric, score)
                            } else {
                                score
                            }
                    }
                };
                ranked
                    .entry(hit.pk.clone())
                    .and_modify(|r| r.score += more)
                    .or_insert(Ranked { score: more, hit });
            }
        }
        let mut ranked: Vec<Ranked> = ranked.into_values().collect();
        ranked.sort_by(|a, b| {
            let by_score = match order {
                Order::Descending => b.score.total_cmp(&a.score),
                Order::Ascending => a.score.total_cmp(&b.score),
            };
            by_score.then_with(|| a.hit.pk.cmp(&b.hit.pk))
        });
        (order, ranked)
    }

    fn order(&self, mut metrics: impl Iterator<Item = Metric>) -> Order {
        match self {
            Self::Weighted {
                normalize: false, ..
            } if metrics.all(|m| !m.larger_is_closer()) => Order::Ascending,
            _ => Order::Descending,
        }
    }
}

/// A score between 0 and 1, larger for closer.
fn normalized(metric: Metric, score: f32) -> f32 {
    match metric {
        Metric::Cosine => f32::midpoint(1.0, score),
        Metric::Ip => 0.5 + score.atan() / PI,
        Metric::L2 | Metric::Hamming | Metric::Jaccard => 1.0 - 2.0 * score.atan() / PI,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_segment::RowRef;
    use holdfast_types::{RowIdx, SegmentId, Timestamp};

    use super::*;

    fn hits(list: &[(i64, f32)]) -> Vec<Hit> {
        list.iter()
            .map(|&(pk, distance)| Hit {
                distance,
                pk: Pk::Int(pk),
                ts: Timestamp(1),
                row: RowRef {
                    segment: SegmentId(1),
                    row: RowIdx(0),
                },
                group: None,
            })
            .collect()
    }

    #[track_caller]
    fn check(ranker: &Ranker, lists: Vec<(Metric, Vec<Hit>)>, expect: &[(i64, f32)]) {
        let (_, ranked) = ranker.rank(lists);
        let keys: Vec<Pk> = ranked.iter().map(|r| r.hit.pk.clone()).collect();
        assert_eq!(
            keys,
            expect.iter().map(|(k, _)| Pk::Int(*k)).collect::<Vec<_>>()
        );
        for (got, (key, score)) in ranked.iter().zip(expect) {
            assert!(
                (got.score - score).abs() < 1e-5,
                "{key}: {} is not {score}",
                got.score
            );
        }
    }

    #[test]
    fn rrf_adds_reciprocal_ranks_and_breaks_ties_by_key() {
        let lists = vec![
            (Metric::L2, hits(&[(1, 0.1), (2, 0.2)])),
            (Metric::Cosine, hits(&[(2, -0.9), (1, -0.8), (3, -0.7)])),
        ];
        let top = 1.0 / 61.0 + 1.0 / 62.0;
        check(
            &Ranker::Rrf { k: 60.0 },
            lists,
            &[(1, top), (2, top), (3, 1.0 / 63.0)],
        );
    }

    #[test]
    fn weighted_distances_stay_distances_unless_they_meet_similarities() {
        let weighted = Ranker::Weighted {
            weights: vec![0.5, 1.0],
            normalize: false,
        };
        let distances = vec![
            (Metric::L2, hits(&[(1, 2.0)])),
            (Metric::L2, hits(&[(2, 0.5)])),
        ];
        check(&weighted, distances, &[(2, 0.5), (1, 1.0)]);
        let mixed = vec![
            (Metric::L2, hits(&[(1, 0.0)])),
            (Metric::Cosine, hits(&[(2, -0.4)])),
        ];
        check(&weighted, mixed, &[(1, 0.5), (2, 0.4)]);
    }

    #[test]
    fn normalized_scores_lie_between_zero_and_one() {
        let weighted = Ranker::Weighted {
            weights: vec![1.0],
            normalize: true,
        };
        check(
            &weighted,
            vec![(Metric::Cosine, hits(&[(1, -1.0), (2, 1.0)]))],
            &[(1, 1.0), (2, 0.0)],
        );
        check(
            &weighted,
            vec![(Metric::Ip, hits(&[(1, 0.0)]))],
            &[(1, 0.5)],
        );
        check(
            &weighted,
            vec![(Metric::L2, hits(&[(1, 0.0)]))],
            &[(1, 1.0)],
        );
    }
}
