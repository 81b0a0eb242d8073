//! Finds the addresses of providers, without those that no request goes to.
//!
//! Hosts that are written as addresses never come here: the configuration refuses those.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;

use crate::provider::host;

/// The system's resolver, whose link-local answers count only for hosts that may have such.
pub struct Resolver {
    /// Hosts of providers with `allow_link_local`.
    pub link_local: BTreeSet<String>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let may_be_local = self.link_local.contains(name.as_str());
        Box::pin(async move {
            // The port is put in by whoever connects.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let allowed = if may_be_local { found } else { allowed(name.as_str(), found)? };
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be asked.
fn allowed(
    name: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let is_empty = found.is_empty();
    let allowed: Vec<SocketAddr> =
        found.into_iter().filter(|address| !host::is_refused(address.ip())).collect();
    if allowed.is_empty() && !is_empty {
        let what = format!(
            "{name} is at a link-local or metadata address; its provider would need \
             allow_link_local: true"
        );
        return Err(what.into());
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn a_name_that_leads_to_metadata_leads_nowhere() {
        let found = |hosts: &[&str]| {
            let found = hosts.iter().map(|host| format!("{host}:0").parse().unwrap()).collect();
            allowed("evil.example", found)
        };
        let error = found(&["169.254.169.254", "[fd00:ec2::254]"]).unwrap_err().to_string();
        assert!(error.contains("evil.example") && error.contains("allow_link_local"), "{error}");
        let mixed = found(&["169.254.169.254", "10.0.0.1", "[::1]"]).unwrap();
        let mixed: Vec<String> = mixed.iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["10.0.0.1:0", "[::1]:0"]);
        assert!(found(&[]).unwrap().is_empty());
    }
}
