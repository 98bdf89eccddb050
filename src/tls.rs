//! What must happen once before anything speaks TLS.

use std::sync::Once;

/// Installs the process's one crypto provider. Called by all code that builds an HTTP client or
/// opens a connection; only the first call has an effect. Without it an HTTP client cannot even be
/// built.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Refused only when a program that uses the library installed its own: that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
