//! Reading as a proxy does: one view, both kinds of node, merged.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arrow_array::{cast::AsArray, types::Int64Type};
use holdfast_index::{QueryVector, Within};
use holdfast_node_api::{
    QueryNode, StreamNode,
    read::{Guarantee, NodeFetch, NodeQuery, NodeSearch, ReadView, ShardView},
};
use holdfast_segment::{QuerySpec, SearchParams, SearchSpec, merge_hits, merge_rows};
use holdfast_types::{
    Code, Failure, ManifestVersion, Metric, PkList, SegmentId, Timestamp, columns,
};

use crate::{rig::Nodes, rows};

/// What one view showed, asked in three ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The stamp of the view.
    pub ts: Timestamp,
    /// Key and version number of every row, by query.
    pub rows: BTreeMap<i64, i64>,
    /// Number of rows, by count.
    pub count: u64,
    /// Key and version number of every row, by an exact search and a fetch of its hits.
    pub hits: BTreeMap<i64, i64>,
}

impl Seen {
    /// The rows, on which all three have to agree.
    ///
    /// # Panics
    /// When they don't.
    #[must_use]
    pub fn agreed(self) -> (Timestamp, BTreeMap<i64, i64>) {
        assert_eq!(
            self.count,
            self.rows.len() as u64,
            "count and query differ at {}: {:?}",
            self.ts,
            self.rows
        );
        assert_eq!(
            self.hits, self.rows,
            "search and query differ at {}",
            self.ts
        );
        (self.ts, self.rows)
    }
}

impl Nodes {
    /// Reads everything at a point that honours `guarantee`, on new views as long as one goes out of date.
    ///
    /// # Errors
    /// What the nodes answer; the last conflict after ten.
    pub async fn read(&self, guarantee: Guarantee) -> Result<Seen, Failure> {
        let mut tries = 0;
        loop {
            let (ts, view) = self.view(guarantee).await?;
            match self.read_view(ts, &view).await {
                Err(failure) if failure.code == Code::Conflict && tries < 10 => tries += 1,
                other => return other,
            }
        }
    }

    /// The rows that a strong read sees.
    ///
    /// # Panics
    /// When the read fails, or query, count and search differ.
    pub async fn strong(&self) -> (Timestamp, BTreeMap<i64, i64>) {
        self.read(Guarantee::Strong)
            .await
            .expect("a strong read")
            .agreed()
    }

    /// The rows at exactly a stamp.
    ///
    /// # Panics
    /// When the read fails, or query, count and search differ.
    pub async fn exactly(&self, ts: Timestamp) -> BTreeMap<i64, i64> {
        self.read(Guarantee::Exactly(ts))
            .await
            .expect("a read at a stamp")
            .agreed()
            .1
    }

    async fn view(&self, guarantee: Guarantee) -> Result<(Timestamp, ReadView), Failure> {
        let point = self.streams.read_point(self.collection, guarantee).await?;
        let oldest: Vec<ManifestVersion> = point.shards.iter().map(|s| s.oldest).collect();
        let served = self.queries.versions(self.collection, &oldest).await?;
        let shards = point
            .shards
            .iter()
            .zip(served)
            .map(|(p, version)| ShardView {
                shard: p.shard,
                version,
                lsn: p.lsn,
            })
            .collect();
        Ok((
            point.ts,
            ReadView {
                collection: self.collection,
                shards,
                partitions: None,
            },
        ))
    }

    async fn read_view(&self, ts: Timestamp, view: &ReadView) -> Result<Seen, Failure> {
        let spec = Arc::new(QuerySpec {
            filter: None,
            keys: None,
            fields: vec![rows::NUMBER, rows::TEXT],
            limit: None,
            after: None,
            at: ts,
            ttl_before: None,
        });
        let query = NodeQuery {
            view: view.clone(),
            spec,
        };
        let (fresh, flushed) = tokio::try_join!(
            self.streams.query(query.clone()),
            self.queries.query(query.clone())
        )?;
        let merged = merge_rows(vec![flushed, fresh], None)?;
        let keys = PkList::from_array(&**columns::column(&merged.batch, rows::ID).expect("keys"))
            .expect("keys");
        let numbers = columns::column(&merged.batch, rows::NUMBER).expect("numbers");
        let found = keys
            .iter()
            .zip(numbers.as_primitive::<Int64Type>().values());
        let rows = found
            .map(|(key, number)| (rows::number_of(&key), *number))
            .collect();
        let (fresh, flushed) =
            tokio::try_join!(self.streams.count(query.clone()), self.queries.count(query))?;
        let count = fresh + flushed;
        let hits = self.search(ts, view, 1 << 20).await?;
        Ok(Seen {
            ts,
            rows,
            count,
            hits,
        })
    }

    /// Key and number of the nearest rows to a vector.
    async fn search(
        &self,
        ts: Timestamp,
        view: &ReadView,
        top_k: usize,
    ) -> Result<BTreeMap<i64, i64>, Failure> {
        let spec = Arc::new(SearchSpec {
            field: rows::VECTOR,
            metric: Metric::L2,
            queries: vec![QueryVector::F32(vec![0.5; rows::DIM])].into(),
            top_k,
            params: SearchParams {
                exact: true,
                ..SearchParams::default()
            },
            within: Within::ALL,
            filter: None,
            group_by: None,
            at: ts,
            ttl_before: None,
        });
        let search = NodeSearch {
            view: view.clone(),
            spec,
        };
        let (mut fresh, mut flushed) = tokio::try_join!(
            self.streams.search(search.clone()),
            self.queries.search(search)
        )?;
        let (fresh, flushed) = (fresh.remove(0), flushed.remove(0));
        let in_memory: HashSet<SegmentId> = fresh.iter().map(|h| h.row.segment).collect();
        let hits = merge_hits(vec![fresh, flushed], top_k, None);
        let mut found = BTreeMap::new();
        for from_memory in [true, false] {
            let part: Vec<_> = hits
                .iter()
                .filter(|h| in_memory.contains(&h.row.segment) == from_memory)
                .collect();
            let fetch = NodeFetch {
                view: view.clone(),
                rows: part.iter().map(|h| h.row).collect(),
                fields: vec![rows::ID, rows::NUMBER],
            };
            if part.is_empty() {
                continue;
            }
            let batch = if from_memory {
                self.streams.fetch(fetch).await?
            } else {
                self.queries.fetch(fetch).await?
            };
            let numbers = columns::column(&batch, rows::NUMBER)
                .expect("numbers")
                .as_primitive::<Int64Type>();
            for (hit, number) in part.iter().zip(numbers.values()) {
                let before = found.insert(rows::number_of(&hit.pk), *number);
                assert_eq!(before, None, "key {} is found twice", hit.pk);
            }
        }
        Ok(found)
    }
}
