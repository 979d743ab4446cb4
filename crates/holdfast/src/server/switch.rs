//! The public API of a process that may have to refuse it.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use holdfast_meta::Session;
use holdfast_proxy::PublicServer;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

/// Refuses everything until it is let in, and again as soon as the session may have ended.
///
/// The session is asked before a request is handled: as long as it lived then, nobody else had acknowledged a write that
/// the request must see.
#[derive(Clone, Default)]
pub(super) struct Switch(Arc<OnceLock<Active>>);

struct Active {
    public: PublicServer,
    session: Arc<dyn Session>,
}

impl Switch {
    /// Hands requests to `public` from now on, while the session lives.
    pub(super) fn let_in(&self, public: PublicServer, session: Arc<dyn Session>) {
        let first = self.0.set(Active { public, session });
        assert!(first.is_ok(), "a process takes over once");
    }
}

impl NamedService for Switch {
    const NAME: &'static str = <PublicServer as NamedService>::NAME;
}

impl Service<http::Request<Body>> for Switch {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let refusal = match self.0.get() {
            Some(active) if active.session.is_live() => {
                return Service::call(&mut active.public.clone(), request);
            }
            Some(_) => {
                "this server lost its session with etcd and another may serve by now; connect again to the cluster"
            }
            None => {
                "this server stands by for the one that serves, or is taking over from it; try again, or another"
            }
        };
        Box::pin(async move { Ok(Status::unavailable(refusal).into_http()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_standby_refuses_as_unavailable() {
        let mut switch = Switch::default();
        let request = http::Request::new(Body::empty());
        let answer = Service::call(&mut switch, request).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.message().contains("stands by"), "{status}");
    }
}
