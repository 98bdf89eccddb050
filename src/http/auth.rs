//! Authentication: static bearer tokens, one for the administrator and one for reading.
//!
//! Only the SHA-256 digests of the tokens are kept, and digests are compared in constant time, so
//! that neither a memory dump nor the time of an answer reveals a token.

use super::problem::{Problem, kinds};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use subtle::{Choice, ConstantTimeEq};

/// Name of the file with the generated administrator's token, in the data directory.
pub const TOKEN_FILE: &str = "admin-token";

/// Length of the shortest accepted token, in characters.
const SHORTEST: usize = 16;

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file of the token cannot be read.
    #[error("cannot read the token file {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The generated token cannot be written.
    #[error("cannot write a new token to {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The file holds no usable bearer token.
    #[error(
        "the token in {} cannot be used: a token is one line of at least {SHORTEST} visible ASCII characters",
        .0.display()
    )]
    Unusable(PathBuf),
    /// Both tokens are the same, so the read-only token would allow everything.
    #[error("the administrator's token and the read-only token are the same; use two tokens")]
    Same,
}

type Digest = [u8; 32];

/// Tokens that are accepted.
#[derive(Clone)]
pub struct Tokens {
    admin: Digest,
    read: Option<Digest>,
    generated: Option<PathBuf>,
}

/// Caller of a request, as the history of the roster records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

/// Who reads an answer of a call that needs no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerAudience {
    /// A caller without a token, or with a token that this node does not know. Gets no causes,
    /// because a cause may have names of hosts, users, files and variables.
    Public,
    /// A caller with a token of this node.
    Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    Admin,
    Read,
}

impl Tokens {
    /// Reads the tokens. Without a configured administrator's token, one of 32 random bytes is
    /// generated and kept in the data directory, readable by its owner alone. The next start reads
    /// the same file.
    ///
    /// # Errors
    /// When a token cannot be read, written or used; the error names the file.
    pub fn load(
        admin: Option<&Path>,
        read: Option<&Path>,
        data_dir: &Path,
    ) -> Result<Self, TokenError> {
        let own = data_dir.join(TOKEN_FILE);
        if admin.is_none() && !own.exists() {
            generate(&own).map_err(|error| TokenError::Write(own.clone(), error))?;
        }
        let read = read.map(stored).transpose()?;
        let tokens = Self {
            admin: stored(admin.unwrap_or(&own))?,
            read,
            generated: admin.is_none().then_some(own),
        };
        if tokens.read == Some(tokens.admin) { Err(TokenError::Same) } else { Ok(tokens) }
    }

    /// File of the generated token, if none was configured.
    #[must_use]
    pub fn generated(&self) -> Option<&Path> {
        self.generated.as_deref()
    }

    fn tier(&self, headers: &HeaderMap) -> Option<Tier> {
        let value = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, token) = value.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let given = sha256(token.trim_ascii());
        let none = [0; 32];
        // Both are always compared, so that the time of the answer does not tell which token is
        // known.
        let admin = given.ct_eq(&self.admin);
        let read = given.ct_eq(self.read.as_ref().unwrap_or(&none))
            & Choice::from(u8::from(self.read.is_some()));
        match (bool::from(admin), bool::from(read)) {
            (true, _) => Some(Tier::Admin),
            (false, true) => Some(Tier::Read),
            (false, false) => None,
        }
    }

    /// Audience of an answer to a request with these headers.
    pub(crate) fn audience(&self, headers: &HeaderMap) -> AnswerAudience {
        if self.tier(headers).is_some() { AnswerAudience::Known } else { AnswerAudience::Public }
    }

    /// Caller of a request that the token allows.
    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Actor, Problem> {
        match (self.tier(headers), method) {
            (Some(Tier::Admin), _) => Ok(Actor("admin".into())),
            (Some(Tier::Read), &Method::GET | &Method::HEAD) => Ok(Actor("read-only".into())),
            (Some(Tier::Read), _) => Err(Problem::new(
                &kinds::FORBIDDEN,
                format!(
                    "the read-only token does not allow {method}; use the administrator's token"
                ),
            )),
            (None, _) => {
                let detail = match headers.get(header::AUTHORIZATION) {
                    None => {
                        "the request has no token; send the header Authorization: Bearer with one"
                    }
                    Some(_) => "the Authorization header has no token that this node knows",
                };
                Err(Problem::new(&kinds::UNAUTHORIZED, detail)
                    .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
        }
    }
}

/// Middleware that lets a request through if its token allows it.
pub(crate) async fn guard(
    State(tokens): State<Tokens>,
    mut request: Request,
    next: Next,
) -> Response {
    match tokens.admit(request.method(), request.headers()) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn stored(file: &Path) -> Result<Digest, TokenError> {
    let text = fs::read_to_string(file).map_err(|e| TokenError::Read(file.to_owned(), e))?;
    let token = text.trim();
    if token.len() < SHORTEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(TokenError::Unusable(file.to_owned()));
    }
    let others = fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
    if others {
        let file = file.display();
        tracing::warn!(%file, "other users of this machine can read the token file {file}; give it the mode 0600");
    }
    Ok(sha256(token.as_bytes()))
}

/// Writes a new token to a second file and renames it, so that a crash cannot leave half a token.
fn generate(file: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    let mut token = String::with_capacity(65);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(token, "{byte:02x}");
    }
    token.push('\n');
    // The store creates the directory in embedded mode only. In a cluster, it holds only this file.
    if let Some(directory) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let beside = file.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    out.write_all(token.as_bytes())?;
    out.sync_all()?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests;
