//! Memory of requests and answers, from a request's first byte to its answer's last.
//!
//! A request is taken in here before the service sees it, piece by piece, each piece when there is memory
//! for it: a client whose write has to wait is not read from. A request that finds none in time is answered
//! in the words of its call ([`Admission`]), for clients look there and not at the HTTP status.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_runtime::{MemoryBudget, MemoryKind, Reservation};
use holdfast_types::{Coded, Failure};
use http_body::{Body as _, Frame};
use prost::Message;
use tonic::{body::Body, codegen::Service, server::NamedService};

/// A message that is decoded lies in memory twice: as it came, then as rows made of it.
const COPIES: u64 = 2;
/// What may follow the largest message: its frame, and the end of the stream.
const FRAMING_BYTES: usize = 1 << 10;
/// A message of no bytes, as gRPC frames it.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// Calls that change rows. All others count as reads.
const WRITES: [&str; 3] = ["Insert", "Upsert", "Delete"];
/// Calls whose requests are streams without an end.
const STREAMS: [&str; 1] = ["CreateReplicateStream"];

/// Why a request was not taken in: what its call answers.
#[derive(Clone, Debug)]
struct Refused(Failure);

/// A request that came compressed: how large it is shows when it is decoded.
#[derive(Clone, Copy, Debug)]
struct Compressed {
    kind: MemoryKind,
    /// What was set aside for it.
    bytes: u64,
}

impl Compressed {
    /// Accounts for what the message, of so many bytes, takes beyond what was set aside for it.
    fn decoded(self, budget: &Arc<MemoryBudget>, bytes: usize) -> Reservation {
        let all = COPIES.saturating_mul(bytes as u64);
        budget.charge(self.kind, all.saturating_sub(self.bytes))
    }
}

/// What became of a request when it was taken in. Held until the call is done.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Why it was not.
    pub(crate) refused: Option<Failure>,
    _decoded: Option<Reservation>,
}

impl Admission {
    pub(crate) fn of<T: Message>(request: &tonic::Request<T>, budget: &Arc<MemoryBudget>) -> Self {
        let noted = request.extensions();
        let refused = noted.get::<Refused>().map(|Refused(why)| why.clone());
        let compressed = noted.get::<Compressed>();
        let decoded = compressed.map(|c| c.decoded(budget, request.get_ref().encoded_len()));
        Self {
            refused,
            _decoded: decoded,
        }
    }
}

/// What an answer takes until it is sent.
#[derive(Clone, Debug)]
struct AnswerMemory(#[expect(dead_code, reason = "held, not read")] Arc<Reservation>);

/// An answer that is accounted for until it is sent: as a message, and as bytes.
pub(crate) fn answer<T: Message>(budget: &Arc<MemoryBudget>, message: T) -> tonic::Response<T> {
    let bytes = COPIES.saturating_mul(message.encoded_len() as u64);
    let memory = AnswerMemory(Arc::new(budget.charge(MemoryKind::Query, bytes)));
    let mut response = tonic::Response::new(message);
    response.extensions_mut().insert(memory);
    response
}

/// The public service, its requests and answers accounted for.
#[derive(Clone, Debug)]
pub struct Metered<S> {
    inner: S,
    intake: Intake,
}

impl<S> Metered<S> {
    pub(crate) fn new(inner: S, intake: Intake) -> Self {
        Self { inner, intake }
    }
}

impl<S: NamedService> NamedService for Metered<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Metered<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (mut inner, intake) = (self.inner.clone(), self.intake.clone());
        Box::pin(async move {
            let call = request.uri().path().rsplit('/').next().unwrap_or_default();
            let kind = if WRITES.contains(&call) {
                MemoryKind::Incoming
            } else {
                MemoryKind::Query
            };
            if STREAMS.contains(&call) {
                return inner.call(request).await;
            }
            let (mut parts, body) = request.into_parts();
            let (pieces, _memory) = match intake.take(kind, body).await {
                Ok((pieces, memory)) => {
                    if pieces.is_compressed() {
                        let bytes = memory.as_ref().map_or(0, Reservation::bytes);
                        parts.extensions.insert(Compressed { kind, bytes });
                    }
                    (pieces, memory)
                }
                Err(failure) => {
                    parts.extensions.insert(Refused(failure));
                    let empty = Bytes::from_static(EMPTY_MESSAGE);
                    (Pieces(VecDeque::from([Ok(Frame::data(empty))])), None)
                }
            };
            let request = http::Request::from_parts(parts, Body::new(pieces));
            let mut answer = inner.call(request).await?;
            Ok(match answer.extensions_mut().remove::<AnswerMemory>() {
                None => answer,
                Some(memory) => answer.map(|inner| {
                    Body::new(Sent {
                        inner,
                        _memory: memory,
                    })
                }),
            })
        })
    }
}

/// Takes requests in as memory allows.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) budget: Arc<MemoryBudget>,
    /// How long a request waits for memory before it is refused.
    pub(crate) memory_wait_max: Duration,
    pub(crate) message_bytes_max: usize,
}

impl Intake {
    /// All of a request's body, and what was set aside for it. Of a body that is larger than any message
    /// may be, only the beginning, which the service refuses.
    async fn take(
        &self,
        kind: MemoryKind,
        mut body: Body,
    ) -> Result<(Pieces, Option<Reservation>), Failure> {
        let mut pieces = VecDeque::new();
        let mut memory: Option<Reservation> = None;
        let mut bytes = 0;
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
        {
            let len = match &frame {
                Ok(frame) => frame.data_ref().map_or(0, Bytes::len),
                Err(_) => 0,
            };
            if len > 0 {
                let piece = self.reserve(kind, COPIES * len as u64).await?;
                match &mut memory {
                    Some(memory) => memory.merge(piece),
                    None => memory = Some(piece),
                }
            }
            let last = frame.is_err();
            pieces.push_back(frame);
            bytes += len;
            if last || bytes > self.message_bytes_max + FRAMING_BYTES {
                break;
            }
        }
        Ok((Pieces(pieces), memory))
    }

    async fn reserve(&self, kind: MemoryKind, bytes: u64) -> Result<Reservation, Failure> {
        self.budget
            .reserve(kind, bytes, self.memory_wait_max)
            .await
            .map_err(|over| {
                over.to_failure().within(
                    "quota exceeded[reason=memory]: nothing of the request was done; send it again later, send less at a time, or raise memory_budget",
                )
            })
    }
}

/// A body that was taken in.
struct Pieces(VecDeque<Result<Frame<Bytes>, tonic::Status>>);

impl Pieces {
    /// Whether the message says of itself that it is: in the first byte, as gRPC frames it.
    fn is_compressed(&self) -> bool {
        let mut frames = self.0.iter().flatten();
        let first = frames.find_map(|frame| frame.data_ref()?.first());
        first.is_some_and(|flag| *flag != 0)
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// An answer on its way.
struct Sent {
    inner: Body,
    _memory: AnswerMemory,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::Code;

    use super::*;

    fn intake(total: u64) -> Intake {
        Intake {
            budget: MemoryBudget::new(total),
            memory_wait_max: Duration::from_secs(60),
            message_bytes_max: 1 << 20,
        }
    }

    fn body(pieces: &[usize]) -> Body {
        let frame = |len: &usize| Ok(Frame::data(Bytes::from(vec![7; *len])));
        Body::new(Pieces(pieces.iter().map(frame).collect()))
    }

    #[tokio::test]
    async fn what_is_taken_in_is_accounted_for_until_it_is_dropped() {
        let intake = intake(100_000);
        let taken = intake
            .take(MemoryKind::Incoming, body(&[1_000, 2_000]))
            .await;
        let (pieces, memory) = taken.unwrap();
        assert_eq!(pieces.0.len(), 2);
        assert_eq!(intake.budget.used(MemoryKind::Incoming), 6_000);
        drop(memory);
        assert_eq!(intake.budget.used_total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_waits_for_memory_and_is_refused_in_the_end_while_reads_go_on() {
        let intake = intake(100_000);
        let held = intake.budget.try_reserve(MemoryKind::Incoming, 24_000);
        let waiting = tokio::spawn({
            let intake = intake.clone();
            async move {
                intake
                    .take(MemoryKind::Incoming, body(&[400, 400]))
                    .await
                    .map(drop)
            }
        });
        let refused = waiting.await.unwrap().unwrap_err();
        assert_eq!(refused.code, Code::QuotaExceeded);
        assert!(refused.message.contains("reason=memory"), "{refused}");
        let read = intake.take(MemoryKind::Query, body(&[5_000])).await;
        assert!(read.is_ok());
        let waiting = tokio::spawn({
            let intake = intake.clone();
            async move {
                intake
                    .take(MemoryKind::Incoming, body(&[400, 400]))
                    .await
                    .map(drop)
            }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_compressed_message_is_accounted_for_as_what_it_is_decoded_to() {
        let intake = intake(100_000);
        let (pieces, memory) = intake
            .take(MemoryKind::Incoming, body(&[100]))
            .await
            .unwrap();
        assert!(pieces.is_compressed(), "its first byte is 7");
        assert!(
            !Pieces(VecDeque::from([Ok(Frame::data(Bytes::from_static(
                EMPTY_MESSAGE
            )))]))
            .is_compressed()
        );
        let bytes = memory.as_ref().map_or(0, Reservation::bytes);
        let compressed = Compressed {
            kind: MemoryKind::Incoming,
            bytes,
        };
        let beyond = compressed.decoded(&intake.budget, 5_000);
        assert_eq!(intake.budget.used(MemoryKind::Incoming), 10_000);
        drop((beyond, memory));
        assert_eq!(intake.budget.used_total(), 0);
    }

    #[tokio::test]
    async fn a_body_larger_than_any_message_is_not_taken_in_whole() {
        let intake = Intake {
            message_bytes_max: 1_000,
            ..intake(1 << 20)
        };
        let taken = intake.take(MemoryKind::Query, body(&[1_000; 9])).await;
        assert_eq!(taken.unwrap().0.0.len(), 3);
    }
}
