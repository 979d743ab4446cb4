//! An S3 server in this process, over HTTP, that does as it is told.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tower::Service;

pub(crate) const BUCKET: &str = "books";
pub(crate) const ACCESS_KEY: &str = "AKIATEST";
pub(crate) const SECRET_KEY: &str = "a-secret-key-of-the-test";

/// What becomes of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// They are answered.
    Well,
    /// They are answered as if they had no conditions.
    NoConditions,
    /// They are refused.
    Answer(StatusCode, &'static str),
    /// So many are told to come back later.
    BusyFor(usize),
    /// They are not answered.
    Silent,
}

#[derive(Clone)]
struct Shared {
    s3: S3Service,
    /// The same without a look at signatures: they cover the conditions.
    open: S3Service,
    mood: Arc<std::sync::Mutex<Mood>>,
    requests: Arc<AtomicUsize>,
    /// The server looks before it writes; conditions hold only if nobody else does in between.
    writing: Arc<tokio::sync::Mutex<()>>,
}

pub(crate) struct S3Server {
    root: tempfile::TempDir,
    address: std::net::SocketAddr,
    shared: Shared,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().expect("the server of the test");
        std::fs::create_dir(root.path().join(BUCKET)).expect("the server of the test");
        let files =
            || S3ServiceBuilder::new(FileSystem::new(root.path()).expect("the server of the test"));
        let mut builder = files();
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let shared = Shared {
            s3: builder.build(),
            open: files().build(),
            mood: Arc::new(std::sync::Mutex::new(Mood::Well)),
            requests: Arc::default(),
            writing: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the server of the test");
        let address = listener.local_addr().expect("the server of the test");
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, app)
                .await
                .expect("the server of the test");
        });
        Self {
            root,
            address,
            shared,
            serving,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.shared.mood.lock().expect("the server of the test") = mood;
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Objects in the bucket.
    pub(crate) fn objects(&self) -> usize {
        fn files(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder)
                .expect("the server of the test")
                .map(|e| e.expect("the server of the test").path());
            entries
                .map(|p| if p.is_dir() { files(&p) } else { 1 })
                .sum()
        }
        files(&self.root.path().join(BUCKET))
    }
}

fn refuse(status: StatusCode, code: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Because.</Message>\
         <AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId></Error>"
    );
    (status, body).into_response()
}

async fn answer(State(mut shared): State<Shared>, mut request: Request) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let mood = {
        let mut mood = shared.mood.lock().expect("the server of the test");
        let now = *mood;
        if let Mood::BusyFor(left) = &mut *mood {
            *left = left.saturating_sub(1);
        }
        now
    };
    match mood {
        Mood::Answer(status, code) => return refuse(status, code),
        Mood::BusyFor(left) if left > 0 => {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        }
        Mood::Silent => std::future::pending().await,
        Mood::NoConditions => {
            for name in [
                header::IF_NONE_MATCH,
                header::IF_MATCH,
                header::AUTHORIZATION,
            ] {
                request.headers_mut().remove(name);
            }
            shared.s3 = shared.open.clone();
        }
        Mood::Well | Mood::BusyFor(_) => {}
    }
    let writing = (request.method() == Method::PUT).then_some(&shared.writing);
    let _one_at_a_time = match writing {
        Some(lock) => Some(Arc::clone(lock).lock_owned().await),
        None => None,
    };
    match Service::call(&mut shared.s3, request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => panic!("{error:?}"),
    }
}
