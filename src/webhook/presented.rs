//! The certificate that is shown to whoever connects; another one takes its place at any time.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::http::Greet;

/// What is shown now; nothing at first.
#[derive(Default)]
pub struct Presented(RwLock<Option<Arc<CertifiedKey>>>);

impl Presented {
    /// Shows a chain, PEM, to whoever connects from now on; open connections go on as they are.
    ///
    /// # Errors
    /// As [`certified`].
    pub fn show(&self, chain: &[u8], key: &SecretString) -> Result<()> {
        let shown = Some(Arc::new(certified(chain, key)?));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    /// Whether there is anything to show.
    pub fn is_ready(&self) -> bool {
        self.shown().is_some()
    }

    fn shown(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown()
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").finish_non_exhaustive()
    }
}

/// A chain with its key, both PEM.
///
/// # Errors
/// One of them makes no sense, or the key belongs to another certificate.
pub fn certified(chain: &[u8], key: &SecretString) -> Result<CertifiedKey> {
    let wrong = |what: &str| Error::new(Kind::Config, what);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| wrong("the certificate is no PEM"))?;
    if chain.is_empty() {
        return Err(wrong("there is no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes());
    let key = key.map_err(|_| wrong("the certificate's key is no PEM"))?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider());
    certified.map_err(|_| wrong("the key is not the certificate's"))
}

/// Speaks TLS with whoever connects.
#[derive(Clone)]
pub struct Secured(TlsAcceptor);

impl Secured {
    /// Shows what is presented.
    ///
    /// # Errors
    /// TLS cannot start.
    pub fn new(presented: Arc<Presented>) -> Result<Self> {
        let provider = Arc::new(default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let failed = |error| Error::new(Kind::Internal, format!("starting TLS: {error}"));
        let config = config.map_err(failed)?.with_no_client_auth();
        let mut config = config.with_cert_resolver(presented);
        config.alpn_protocols = ["h2", "http/1.1"].map(Vec::from).to_vec();
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

impl Greet for Secured {
    type Stream = TlsStream<TcpStream>;

    async fn greet(&self, stream: TcpStream) -> io::Result<Self::Stream> {
        self.0.accept(stream).await
    }
}
