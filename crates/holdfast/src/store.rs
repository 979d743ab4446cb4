//! Where objects are kept: a local folder or a bucket.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use holdfast_qlog::messages::ClusterId;
use holdfast_storage::{CacheOptions, Store};
use holdfast_storage_s3::{
    Credentials,
    check::{self, Conditional, Need, Report},
};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::{
    cli::StoreFlags,
    config::{self, Size},
};

/// Where objects are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// A folder or a bucket.
    pub(crate) kind: StoreKind,
    /// The folder; empty: `objects` in the data directory.
    pub(crate) path: PathBuf,
    /// Most bytes of the local copies of a bucket's objects. The files of all loaded collections must fit.
    pub(crate) cache_bytes_max: Size,
    pub(crate) s3: holdfast_storage_s3::Options,
}

/// What keeps objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// A folder of this machine, or one that machines share.
    #[default]
    Local,
    /// A bucket.
    S3,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            path: PathBuf::new(),
            cache_bytes_max: Size(64 << 30),
            s3: holdfast_storage_s3::Options::default(),
        }
    }
}

impl StoreConfig {
    /// Checks what is used.
    pub(crate) fn validate(&self) -> anyhow::Result<()> {
        match self.kind {
            StoreKind::Local => Ok(()),
            StoreKind::S3 => {
                ensure!(
                    self.path.as_os_str().is_empty(),
                    "path: {} is a folder, and kind is \"s3\"",
                    self.path.display()
                );
                let s3 = self.s3.validate();
                s3.map_err(anyhow::Error::msg).context("s3")
            }
        }
    }

    /// The store, which must be `cluster`'s. `folder` has its objects when no path is set, `cache` the copies of a
    /// bucket's.
    pub(crate) async fn open(
        &self,
        folder: &Path,
        cache: PathBuf,
        cluster: ClusterId,
    ) -> anyhow::Result<Store> {
        let path = match self.path.as_os_str().is_empty() {
            true => folder.to_owned(),
            false => self.path.clone(),
        };
        let store = match self.kind {
            StoreKind::Local => {
                tokio::task::spawn_blocking(move || Store::open_local(&path)).await??
            }
            StoreKind::S3 => self.open_bucket(cache).await?,
        };
        // A folder in the data directory comes and goes with the metadata.
        if self.kind == StoreKind::S3 || !self.path.as_os_str().is_empty() {
            store.claim(&cluster.to_string()).await?;
        }
        Ok(store)
    }

    /// The bucket as it is: the one place where its client is made.
    pub(crate) fn bucket(&self) -> anyhow::Result<Arc<dyn ObjectStore>> {
        let bucket = holdfast_storage_s3::open(&self.s3, &credentials(&self.s3)?)?;
        Ok(bucket)
    }

    async fn open_bucket(&self, folder: PathBuf) -> anyhow::Result<Store> {
        let name = self.s3.name();
        let bucket = self.bucket()?;
        let found = check::probe(&*bucket).await;
        let conditional = found.with_context(|| format!("object store {name}"))?;
        let options = CacheOptions {
            folder,
            bytes_max: self.cache_bytes_max.0,
        };
        let store = tokio::task::spawn_blocking(move || Store::new(bucket, &options)).await??;
        tracing::info!(
            bucket = name,
            endpoint = self.s3.endpoint_name(),
            ?conditional,
            "objects are in a bucket"
        );
        if conditional == Conditional::Enforced {
            return Ok(store);
        }
        tracing::warn!(
            bucket = name,
            "the bucket does not enforce conditional puts: names alone keep objects apart, so it must not be shared with \
             another cluster; `holdfast store check` says more"
        );
        Ok(store.without_conditional_puts())
    }
}

fn credentials(options: &holdfast_storage_s3::Options) -> anyhow::Result<Credentials> {
    // Secrets are not settings: `config show` would show them.
    #[expect(
        clippy::disallowed_methods,
        reason = "credentials come from the variables that every S3 tool reads, not from settings"
    )]
    let variable = |name: &str| std::env::var(name).ok();
    Credentials::load(options, variable)
        .map_err(anyhow::Error::msg)
        .context("store.s3")
}

/// The part of a configuration file that says where objects are, whoever the file is for.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct OnlyStore {
    store: StoreConfig,
}

/// What the configured bucket can do; whether that is enough.
pub(crate) async fn check(flags: &StoreFlags) -> anyhow::Result<(String, bool)> {
    let nothing = figment::providers::Serialized::globals(figment::value::Dict::new());
    let OnlyStore { store } =
        config::merge(OnlyStore::default(), flags.config.as_deref(), nothing)?;
    store.validate().context("configuration: store")?;
    if store.kind != StoreKind::S3 {
        bail!("store.kind is \"local\": there is no bucket to check");
    }
    let bucket = store.bucket()?;
    let report = check::run(&*bucket).await;
    let place = format!("{} at {}", store.s3.name(), store.s3.endpoint_name());
    Ok((shown(&report, &place, flags.json), report.suffices()))
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Guard => "a guard",
        Need::Unused => "not used",
    }
}

fn shown(report: &Report, place: &str, json: bool) -> String {
    if json {
        let findings = report.findings.iter().map(|f| {
            serde_json::json!({
                "what": f.what, "need": need(f.need), "works": f.problem.is_none(), "problem": f.problem,
                "advice": f.problem.as_ref().map(|_| f.advice),
            })
        });
        let answer = serde_json::json!({
            "bucket": place, "suffices": report.suffices(), "findings": findings.collect::<Vec<_>>(),
        });
        return format!("{answer:#}\n");
    }
    let mut out = format!("{place}\n\n");
    for finding in &report.findings {
        let works = if finding.problem.is_none() {
            "yes"
        } else {
            "NO"
        };
        out += &format!("{works:<4} {:<9} {}\n", need(finding.need), finding.what);
        if let Some(problem) = &finding.problem {
            out += &format!(
                "{:14} found: {problem}\n{:14} do:    {}\n",
                "", "", finding.advice
            );
        }
    }
    out += match report.suffices() {
        true => "\nHoldfast can use this bucket.\n",
        false => "\nHoldfast cannot use this bucket.\n",
    };
    out
}

#[cfg(test)]
mod tests {
    use holdfast_storage_s3::check::Finding;

    use super::*;

    #[test]
    fn a_bucket_without_a_name_is_refused_only_when_it_is_used() {
        let mut config = StoreConfig::default();
        config.validate().unwrap();
        config.kind = StoreKind::S3;
        let error = format!("{:#}", config.validate().unwrap_err());
        assert!(error.starts_with("s3: bucket"), "{error}");
        config.s3.bucket = "books".to_owned();
        config.validate().unwrap();
        config.path = "/srv/objects".into();
        let error = format!("{:#}", config.validate().unwrap_err());
        assert!(error.starts_with("path: /srv/objects"), "{error}");
    }

    #[tokio::test]
    async fn a_shared_folder_has_one_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            path: dir.path().join("shared"),
            ..StoreConfig::default()
        };
        let open = |cluster| {
            let cache = dir.path().join("cache");
            let config = &config;
            let folder = dir.path();
            async move { config.open(folder, cache, cluster).await }
        };
        let (ours, theirs) = (ClusterId([7; 16]), ClusterId([0xab; 16]));
        open(ours).await.unwrap();
        open(ours).await.unwrap();
        let error = open(theirs).await.unwrap_err().to_string();
        assert!(error.contains("belongs to cluster 0707"), "{error}");
    }

    #[test]
    fn what_is_lacking_comes_with_advice() {
        let finding = |need, problem: Option<&str>| Finding {
            what: "something: it works",
            need,
            problem: problem.map(str::to_owned),
            advice: "mend it",
        };
        let report = Report {
            findings: vec![
                finding(Need::Required, None),
                finding(Need::Guard, Some("it does not")),
            ],
        };
        let text = shown(&report, "s3://books at http://here", false);
        assert!(
            text.contains("found: it does not") && text.contains("do:    mend it"),
            "{text}"
        );
        assert!(text.ends_with("can use this bucket.\n"), "{text}");
        let json = shown(&report, "s3://books", true);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["suffices"], true);
        assert_eq!(json["findings"][0]["advice"], serde_json::Value::Null);
    }
}
