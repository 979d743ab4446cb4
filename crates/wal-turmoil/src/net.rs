//! gRPC over the simulated network.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, stream};
use holdfast_quorum_wal::{Connect, connect};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Error, Uri, server::Connected};
use turmoil::net::{TcpListener, TcpStream};

/// Where every log-node listens, on its host.
pub(crate) const PORT: u16 = 19_530;

/// Channels with the settings that ship, over the simulated network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimConnect;

impl Connect for SimConnect {
    fn channel(&self, address: &str) -> Result<Channel, Error> {
        let dial = |uri: Uri| async move {
            let host = uri.host().unwrap_or_default().to_owned();
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(PORT))).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        };
        Ok(connect::endpoint(address)?.connect_with_connector_lazy(tower::service_fn(dial)))
    }
}

/// A connection that a server took.
pub(crate) struct Accepted(TcpStream);

/// Connections of peers, one after the other.
pub(crate) fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted>> {
    stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| Accepted(stream)), listener))
    })
}

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
