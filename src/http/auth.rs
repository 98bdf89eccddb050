//! Who may ask: static bearer tokens, one to administer and one to read.
//!
//! Only the tokens' SHA-256 digests are kept, and digests are compared in constant time, so that
//! neither a memory dump nor the time an answer takes tells a token.

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

/// The name of the generated administrator's token in the data directory.
pub const TOKEN_FILE: &str = "admin-token";

/// The shortest token accepted from a file, in characters.
const SHORTEST: usize = 16;

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("cannot read the token file {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The generated token cannot be written.
    #[error("cannot write a new token to {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// It is not usable as a bearer token.
    #[error(
        "the token in {} is not usable: a token is one line of at least {SHORTEST} visible ASCII characters",
        .0.display()
    )]
    Unusable(PathBuf),
    /// Both tokens are the same, so a reader could administer.
    #[error("the administrator's and the read-only token are the same")]
    Same,
}

type Digest = [u8; 32];

/// The tokens that open the door.
#[derive(Clone)]
pub struct Tokens {
    admin: Digest,
    read: Option<Digest>,
    generated: Option<PathBuf>,
}

/// Who asks. Goes into the roster's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    Admin,
    Read,
}

impl Tokens {
    /// Reads the tokens. Without an administrator's token, one of 32 random bytes is made and
    /// kept in the data directory, readable by its owner alone; the next start finds it there.
    ///
    /// # Errors
    /// [`TokenError`] names the file.
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

    /// The file of the generated token, where none was configured.
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
        // Both are compared whatever the first says.
        let admin = given.ct_eq(&self.admin);
        let read = given.ct_eq(self.read.as_ref().unwrap_or(&none))
            & Choice::from(u8::from(self.read.is_some()));
        match (bool::from(admin), bool::from(read)) {
            (true, _) => Some(Tier::Admin),
            (false, true) => Some(Tier::Read),
            (false, false) => None,
        }
    }

    /// Who asks, when they may.
    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Actor, Problem> {
        match (self.tier(headers), method) {
            (Some(Tier::Admin), _) => Ok(Actor("admin".into())),
            (Some(Tier::Read), &Method::GET | &Method::HEAD) => Ok(Actor("read-only".into())),
            (Some(Tier::Read), _) => Err(Problem::new(
                &kinds::FORBIDDEN,
                format!("the read-only token does not allow {method}; use the administrator's"),
            )),
            (None, _) => {
                let detail = match headers.get(header::AUTHORIZATION) {
                    None => "send the header Authorization: Bearer with a token",
                    Some(_) => "the Authorization header does not carry a token that is known here",
                };
                Err(Problem::new(&kinds::UNAUTHORIZED, detail)
                    .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
        }
    }
}

/// Lets a request through that carries a token for what it wants.
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
        tracing::warn!(%file, "the token file {file} can be read by others; make its mode 0600");
    }
    Ok(sha256(token.as_bytes()))
}

/// Writes beside, then renames: a crash leaves no half a token.
fn generate(file: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    let mut token = String::with_capacity(65);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(token, "{byte:02x}");
    }
    token.push('\n');
    // The store makes the directory in embedded mode only; in a cluster it holds just this.
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
