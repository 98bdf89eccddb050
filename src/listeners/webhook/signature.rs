//! Signing (Standard Webhooks 1.0, "Signature scheme", symmetric).

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use std::fmt::Write;

/// Reads a signing secret: `whsec_` and the base64 of 24 to 64 bytes. The error does not contain
/// the secret.
pub(super) fn key(secret: &str) -> Result<hmac::Key, String> {
    let Some(encoded) = secret.strip_prefix("whsec_") else {
        return Err("does not begin with whsec_ (Standard Webhooks)".to_owned());
    };
    let bytes = STANDARD.decode(encoded).map_err(|_| "is not base64 after whsec_".to_owned())?;
    if !(24..=64).contains(&bytes.len()) {
        return Err(format!("has {} bytes; Standard Webhooks asks for 24 to 64", bytes.len()));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The value of `webhook-signature`.
pub(super) fn sign(key: &hmac::Key, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

/// Encodes an event's id for a header. It is percent-encoded as in CloudEvents (HTTP Protocol
/// Binding 1.0.2, section 3.1.3.2), which leaves most ids unchanged.
pub(super) fn header_id(id: &str) -> String {
    let mut header = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b'"' {
            header.push(char::from(byte));
        } else {
            write!(header, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks reference libraries.
    #[test]
    fn a_signature_is_what_standard_webhooks_computes() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_wrong_secret_is_refused_without_being_shown() {
        for (secret, problem) in [
            ("hunter2", "whsec_"),
            ("whsec_hunter2?", "is not base64"),
            ("whsec_aHVudGVyMg==", "has 7 bytes"),
        ] {
            let error = key(secret).unwrap_err();
            assert!(error.contains(problem) && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn an_id_that_a_header_cannot_carry_is_encoded() {
        assert_eq!(header_id("6e0dd59d-660e"), "6e0dd59d-660e");
        assert_eq!(header_id("é 1%\n"), "%C3%A9%201%25%0A");
    }
}
