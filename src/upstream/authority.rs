//! Whose word is taken for who is at the other end of a connection.

use reqwest::Certificate;
use reqwest::Client;
use reqwest::ClientBuilder;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::upstream::root;

/// The system's authorities, and these.
pub struct Authorities(Vec<Certificate>);

impl Authorities {
    /// Those of `ca_file`, as PEM.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read(pem: Option<&str>) -> Result<Self> {
        let read = Certificate::from_pem_bundle(pem.unwrap_or_default().as_bytes());
        let wrong = |error| format!("a certificate in ca_file cannot be read: {}", root(&error));
        read.map(Self).map_err(|error| Error::new(Kind::Config, wrong(error)))
    }

    /// A client that believes them.
    ///
    /// # Errors
    /// The machine has none, or one of these is no certificate.
    pub fn client(&self, builder: ClientBuilder) -> Result<Client> {
        let built = builder.tls_certs_merge(self.0.iter().cloned()).build();
        built.map_err(|error| {
            let why = root(&error);
            let what = format!(
                "no TLS connection could be made: {why}: name a file with the certificates of \
                 authorities, as PEM, in `ca_file` or in the variable SSL_CERT_FILE"
            );
            Error::new(Kind::Config, what)
        })
    }
}

/// What may help against a connection that failed because nobody vouches for the other end.
pub fn remedy(cause: &dyn std::error::Error) -> &'static str {
    // By the word of rustls: its error lies too deep in others to be found by its type.
    match cause.to_string().contains("UnknownIssuer") {
        true => ": if the provider is to be believed, name a file with its authority in `ca_file`",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::Authorities;

    #[test]
    fn a_file_that_holds_no_certificate_says_so() {
        assert!(Authorities::read(None).is_ok_and(|none| none.0.is_empty()));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let refused = Authorities::read(Some(broken)).map(|_| ());
        assert!(refused.is_err_and(|error| error.detail.contains("ca_file")));
    }
}
