use super::*;

const ADMIN: &str = "administrator-token";
const READ: &str = "read-only-token-1";

fn file(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn tokens() -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    let (admin, read) = (file(dir.path(), "a", ADMIN), file(dir.path(), "r", &format!("{READ}\n")));
    Tokens::load(Some(&admin), Some(&read), dir.path()).unwrap()
}

fn admit(tokens: &Tokens, method: &Method, authorization: Option<&str>) -> Result<String, u16> {
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization {
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
    }
    tokens.admit(method, &headers).map(|actor| actor.0).map_err(|problem| problem.kind().status)
}

#[test]
fn the_administrator_may_write_and_the_reader_may_read() {
    let tokens = tokens();
    let (admin, read) = (format!("Bearer {ADMIN}"), format!("bearer  {READ}"));
    assert_eq!(admit(&tokens, &Method::POST, Some(&admin)), Ok("admin".into()));
    assert_eq!(admit(&tokens, &Method::GET, Some(&read)), Ok("read-only".into()));
    assert_eq!(admit(&tokens, &Method::HEAD, Some(&read)), Ok("read-only".into()));
    assert_eq!(admit(&tokens, &Method::DELETE, Some(&read)), Err(403));
}

#[test]
fn a_request_without_a_known_token_is_refused() {
    let tokens = tokens();
    for value in
        [None, Some(""), Some("Bearer "), Some("Bearer x"), Some(ADMIN), Some("Basic eA==")]
    {
        assert_eq!(admit(&tokens, &Method::GET, value), Err(401), "{value:?}");
    }
}

#[test]
fn a_token_is_generated_once_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::load(None, None, dir.path()).unwrap();
    let path = tokens.generated().unwrap();
    let token = fs::read_to_string(path).unwrap();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(token.trim().len(), 64);
    let again = Tokens::load(None, None, dir.path()).unwrap();
    let header = format!("Bearer {}", token.trim());
    assert_eq!(admit(&again, &Method::POST, Some(&header)), Ok("admin".into()));
    // Without a read-only token nothing is one.
    assert_eq!(admit(&again, &Method::GET, Some("Bearer ")), Err(401));
}

#[test]
fn an_unusable_token_is_refused_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["", "short", "with spaces in the middle of it", "ünicode-ünicode-ünicode"] {
        let path = file(dir.path(), "t", content);
        let error = Tokens::load(Some(&path), None, dir.path()).err().unwrap();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let missing = dir.path().join("missing");
    assert!(matches!(Tokens::load(Some(&missing), None, dir.path()), Err(TokenError::Read(..))));
    let same = file(dir.path(), "same", ADMIN);
    assert!(matches!(Tokens::load(Some(&same), Some(&same), dir.path()), Err(TokenError::Same)));
}
