//! How a log-node is reached: over TCP, or over whatever network a simulation has.

use std::{fmt, time::Duration};

use tonic::transport::{Channel, Endpoint, Error};

/// Bytes of one HTTP/2 stream and of one connection that may be under way without being read.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// A connection that is silent for this long is asked for a sign of life, and given up after as long again.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Makes channels to log-nodes.
pub trait Connect: Send + Sync + fmt::Debug {
    /// A channel to the node at `address` (`host:port`). It connects when it is first used, and again after a failure.
    ///
    /// # Errors
    /// The address is not one.
    fn channel(&self, address: &str) -> Result<Channel, Error>;
}

/// Over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnect;

impl Connect for TcpConnect {
    fn channel(&self, address: &str) -> Result<Channel, Error> {
        Ok(endpoint(address)?.connect_lazy())
    }
}

/// The settings of every connection to a log-node.
///
/// # Errors
/// The address is not one.
pub fn endpoint(address: &str) -> Result<Endpoint, Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true))
}
