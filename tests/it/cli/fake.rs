//! A server that plays a node: it answers from a script and remembers the requests.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, Uri},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

/// A request that the server received.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// An answer of the script.
struct ScriptedAnswer {
    status: u16,
    content_type: String,
    body: String,
    /// Value of the header `Hearken-Topology`.
    topology: Option<&'static str>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<HashMap<String, VecDeque<ScriptedAnswer>>>,
    asked: Mutex<Vec<Asked>>,
}

/// A running server.
pub(crate) struct Fake {
    pub(crate) url: String,
    script: Arc<Script>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let script = Arc::new(Script::default());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, script }
    }

    /// Answers a request line with JSON. Several answers to one line are given in their order.
    pub(crate) fn json(self, line: &str, status: u16, body: &str) -> Self {
        self.answer(line, status, "application/json", body)
    }

    /// Answers a request line with a problem.
    pub(crate) fn problem(self, line: &str, status: u16, body: &str) -> Self {
        self.answer(line, status, "application/problem+json", body)
    }

    pub(crate) fn answer(self, line: &str, status: u16, content_type: &str, body: &str) -> Self {
        let (content_type, body) = (content_type.to_owned(), body.to_owned());
        let answer = ScriptedAnswer { status, content_type, body, topology: None };
        self.script_answer(line, answer)
    }

    /// Answers a removal, and tells whether the broker followed.
    pub(crate) fn removed(self, line: &str, topology: &'static str) -> Self {
        let (content_type, body) = ("application/json".into(), String::new());
        let topology = Some(topology);
        self.script_answer(line, ScriptedAnswer { status: 204, content_type, body, topology })
    }

    fn script_answer(self, line: &str, answer: ScriptedAnswer) -> Self {
        self.script
            .answers
            .lock()
            .expect("no test panics here")
            .entry(line.to_owned())
            .or_default()
            .push_back(answer);
        self
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().expect("no test panics here").clone()
    }

    /// The request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

async fn answer(
    State(script): State<Arc<Script>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let line = format!("{method} {uri}");
    let body = String::from_utf8_lossy(&body).into_owned();
    script.asked.lock().expect("no test panics here").push(Asked {
        line: line.clone(),
        headers,
        body,
    });
    let scripted = script
        .answers
        .lock()
        .expect("no test panics here")
        .get_mut(&line)
        .and_then(VecDeque::pop_front);
    let answer = scripted.unwrap_or_else(|| ScriptedAnswer {
        status: 500,
        content_type: "text/plain".into(),
        body: format!("the script has no answer to {line}"),
        topology: None,
    });
    let mut response =
        Response::builder().status(answer.status).header("content-type", answer.content_type);
    if let Some(topology) = answer.topology {
        response = response.header("hearken-topology", topology);
    }
    response.body(Body::from(answer.body)).expect("an answer")
}
