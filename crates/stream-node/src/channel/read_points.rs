//! Points to read at.

use std::sync::PoisonError;

use holdfast_node_api::read::Guarantee;
use holdfast_types::{Code, Failure, Timestamp};

use super::{Applied, Channel};

impl Channel {
    /// A point at which `guarantee` holds. For an exact one, its stamp is that of the guarantee or above, and
    /// nothing will be stamped at or below it any more, not after a restart either.
    pub(crate) async fn read_point(&self, guarantee: Guarantee) -> Result<Applied, Failure> {
        let wanted = match guarantee {
            Guarantee::Strong => return Ok(self.applied()),
            Guarantee::AtLeast(ts) | Guarantee::Exactly(ts) => ts,
        };
        let now = self.applied();
        if now.ts >= wanted {
            return Ok(now);
        }
        let horizon = self.clock.unix_ms()
            + u64::try_from(self.options.future_read_max.as_millis()).unwrap_or(u64::MAX);
        if wanted.unix_ms() > horizon {
            return Err(Failure::invalid(format!(
                "guarantee_timestamp: {wanted} is {} ms ahead of the server's clock",
                wanted.unix_ms().saturating_sub(self.clock.unix_ms())
            )));
        }
        if let Guarantee::Exactly(_) = guarantee {
            self.watermark.cover(wanted).await?;
        }
        self.nothing_more_until(wanted).await?;
        if let Guarantee::Exactly(_) = guarantee {
            self.applied.send_if_modified(|a| {
                let behind = a.ts < wanted;
                a.ts = a.ts.max(wanted);
                behind
            });
        }
        Ok(self.applied())
    }

    /// From here on every new stamp is above `ts`; returns when what was stamped before is applied: nothing
    /// at or below `ts` is missing then.
    async fn nothing_more_until(&self, ts: Timestamp) -> Result<(), Failure> {
        let barrier = {
            let stamper = self.stamper.lock().unwrap_or_else(PoisonError::into_inner);
            self.hlc.observe(ts);
            stamper.issued
        };
        let mut applied = self.applied.subscribe();
        applied
            .wait_for(|a| a.sequence >= barrier)
            .await
            .map_err(|_| Failure::new(Code::Unavailable, "the server is shutting down"))?;
        match self.broken.get() {
            Some(broken) => Err(broken.clone()),
            None => Ok(()),
        }
    }
}
