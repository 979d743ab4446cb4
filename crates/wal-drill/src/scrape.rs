//! How often disks synced, as their processes tell in their metrics.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Syncs, and the records they made durable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Syncs {
    /// How many.
    pub syncs: f64,
    /// Records.
    pub records: f64,
}

impl Syncs {
    /// From a histogram of records a sync, all its labels taken together.
    #[must_use]
    pub fn read(text: &str, histogram: &str) -> Self {
        let sum = |suffix: &str| -> f64 {
            let name = format!("{histogram}{suffix}");
            let lines = text.lines().filter_map(|line| line.strip_prefix(&name));
            let lines = lines.filter(|rest| rest.starts_with([' ', '{']));
            lines
                .filter_map(|rest| rest.split(' ').next_back()?.parse::<f64>().ok())
                .sum()
        };
        Self {
            syncs: sum("_count"),
            records: sum("_sum"),
        }
    }

    /// Without those of earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            syncs: self.syncs - earlier.syncs,
            records: self.records - earlier.records,
        }
    }

    /// Mean records of one sync.
    #[must_use]
    pub fn records_per_sync(&self) -> f64 {
        self.records / self.syncs.max(1.0)
    }
}

/// The metrics page of a process.
///
/// # Errors
/// It does not answer.
pub async fn metrics(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_taken_together_and_other_names_left_out() {
        let page = "a_count 3\na_sum 7.5\na_count{channel=\"1\"} 2\na_counter 9\nb_count 1\n";
        let syncs = Syncs::read(page, "a");
        assert_eq!((syncs.syncs, syncs.records), (5.0, 7.5));
        assert_eq!(syncs.records_per_sync(), 1.5);
    }
}
