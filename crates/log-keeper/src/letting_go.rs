//! What the disk and the object storage need no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use holdfast_log_store::{ListName, Listed};
use holdfast_qlog::{
    heal::{StoredHere, droppable, is_unreachable},
    messages::{Answer, Ask, Request},
    meta::SegmentState,
};
use holdfast_types::{ChannelId, LogSegment};

use crate::{
    keeper::{Keeper, Memory},
    look::Look,
    metrics,
};

/// How long the log-node beside may take to forget something.
const PATIENCE: Duration = Duration::from_secs(10);

impl Keeper {
    /// Drops what is in object storage and what was trimmed from the disk, by the rule.
    pub(crate) async fn let_go(&self, memory: &mut Memory, look: &Look) {
        // It is stopping otherwise.
        let Ok(status) = self.log_node.status().await else {
            return;
        };
        let images = status.image.logs.iter();
        let held: BTreeMap<ChannelId, Vec<LogSegment>> = images
            .map(|(log, image)| (*log, image.segments.keys().copied().collect()))
            .collect();
        self.see_stored(memory, look, &held).await;
        let rule = self.options.local();
        let dropped = droppable(&look.logs, &held, &memory.stored, rule, self.now());
        for (log, through) in dropped {
            let count = held[&log].iter().filter(|s| **s <= through).count();
            match self.forget(log, through).await {
                Ok(()) => {
                    tracing::info!(%log, %through, count, "segments were dropped from this disk");
                    ::metrics::counter!(metrics::DROPPED).increment(count as u64);
                }
                Err(problem) => {
                    tracing::warn!(%log, %through, problem, "segments cannot be dropped");
                }
            }
        }
    }

    /// Notes which of the segments on this disk object storage has, when it can be read there.
    async fn see_stored(
        &self,
        memory: &mut Memory,
        look: &Look,
        held: &BTreeMap<ChannelId, Vec<LogSegment>>,
    ) {
        let all = held.iter();
        let here: BTreeSet<(ChannelId, LogSegment)> = all
            .flat_map(|(log, segments)| segments.iter().map(|segment| (*log, *segment)))
            .collect();
        memory.stored.retain(|key, _| here.contains(key));
        let Some(objects) = &self.objects else { return };
        for (log, segment) in here {
            let view = look.logs.get(&log);
            let descriptor = view.and_then(|view| view.segments.get(&segment));
            let Some(SegmentState::Tiered { manifest, .. }) = descriptor.map(|d| &d.state) else {
                continue;
            };
            if memory.stored.contains_key(&(log, segment)) {
                continue;
            }
            match objects.open_segment(log, manifest).await {
                Ok(stored) => {
                    let here = StoredHere {
                        since: self.now(),
                        bytes: stored.bytes(),
                    };
                    memory.stored.insert((log, segment), here);
                }
                Err(error) => {
                    tracing::warn!(%log, %segment, %error, "a stored segment cannot be read: it stays on this disk");
                    return;
                }
            }
        }
    }

    async fn forget(&self, log: ChannelId, through: LogSegment) -> Result<(), String> {
        let asked = async {
            let (session, mut answers) = self.log_node.join().await.map_err(|e| e.to_string())?;
            let request = Request {
                cluster: self.cluster,
                storage: Some(self.storage),
                sender: self.owner.clone(),
                ask: Ask::Trim { log, through },
            };
            let given = session.request(request).await;
            given.map_err(|e| e.to_string())?;
            match answers.recv().await.map(|reply| reply.answer) {
                Some(Answer::Trimmed { .. }) => Ok(()),
                Some(Answer::Rejected { why, .. }) => Err(why.to_string()),
                other => Err(format!("the answer is {other:?}")),
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    /// All objects, when it is time to look for those that nobody can reach. Before the metadata is read: what is written
    /// later is not in the list.
    pub(crate) async fn list_objects(&self, memory: &mut Memory) -> Option<Listed> {
        let objects = self.objects.as_ref()?;
        let every = self.options.garbage_every;
        let looked = memory.garbage_looked;
        if looked.is_some_and(|at| self.now().saturating_sub(at) < every) {
            return None;
        }
        memory.garbage_looked = Some(self.now());
        match objects.list().await {
            Ok(listed) => Some(listed),
            Err(error) => {
                tracing::warn!(%error, "objects cannot be listed");
                None
            }
        }
    }

    /// Deletes objects that nobody could reach for long enough.
    pub(crate) async fn clear_up(&self, memory: &mut Memory, look: &Look, listed: Option<Listed>) {
        let (Some(objects), Some(mut listed)) = (&self.objects, listed) else {
            return;
        };
        let Listed { folders, lists } = &mut listed;
        folders.retain(|folder, _| {
            let view = look.logs.get(&folder.log);
            view.is_some_and(|view| is_unreachable(view, folder.segment, &folder.path))
        });
        let now = self.now();
        let before = std::mem::take(&mut memory.garbage);
        for folder in folders.keys() {
            let since = before.get(folder).copied().unwrap_or(now);
            memory.garbage.insert(folder.clone(), since);
        }
        // Where it is known which list counts, all others that cannot take its place.
        lists.retain(|name, list| {
            let view = look.logs.get(&list.log);
            let known = view.is_some_and(|view| view.folded.is_none());
            let current = memory.lists.get(&list.log).map(|(manifest, _)| manifest);
            let counts = current.is_some_and(|current| *current.key == **name);
            known && !counts && !list.may_follow(current)
        });
        let before = std::mem::take(&mut memory.garbage_lists);
        for name in lists.keys() {
            let since = before.get(name).copied().unwrap_or(now);
            memory.garbage_lists.insert(name.clone(), since);
        }
        if !look.is_first(self.storage) {
            return;
        }
        let grace = self.options.garbage_grace;
        for (name, ListName { log, .. }) in listed.lists {
            if now.saturating_sub(memory.garbage_lists[&name]) < grace {
                continue;
            }
            if let Err(error) = objects.delete(&name).await {
                tracing::warn!(%error, "an object is left over");
                return;
            }
            ::metrics::counter!(metrics::OBJECTS_DELETED).increment(1);
            tracing::info!(%log, name, "a list that nobody reads any more is deleted");
        }
        for (folder, names) in listed.folders {
            if now.saturating_sub(memory.garbage[&folder]) < grace {
                continue;
            }
            for name in names {
                if let Err(error) = objects.delete(&name).await {
                    tracing::warn!(%error, "an object is left over");
                    return;
                }
                ::metrics::counter!(metrics::OBJECTS_DELETED).increment(1);
            }
            let (log, segment) = (folder.log, folder.segment);
            tracing::info!(%log, %segment, folder = folder.path, "objects that nobody can reach are deleted");
        }
    }
}
