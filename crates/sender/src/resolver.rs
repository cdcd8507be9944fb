//! The outbound guard between a name and a connection.
//!
//! The HTTP client asks it for every name it is about to connect to, and connects to nothing but the
//! addresses it gives: they were checked after they were resolved, so a name that changes its mind in
//! between (DNS rebinding) gains nothing. Literals never come here; `exchange` checks them in the URL.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mediahooks_delivery::{TargetPolicy, TargetRefused, check_answers};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Why a name has no usable address. It comes out of the HTTP client as the cause of its error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The resolver failed, or knows no such name.
    #[error("the name cannot be resolved: {0}")]
    Lookup(io::Error),
    /// What it answered may not be reached.
    #[error(transparent)]
    Refused(TargetRefused),
}

/// Resolves names with the system's resolver and refuses what `policy` forbids.
pub(crate) struct GuardedResolver {
    policy: Arc<TargetPolicy>,
}

impl GuardedResolver {
    pub(crate) fn new(policy: Arc<TargetPolicy>) -> Self {
        Self { policy }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            // The client puts the URL's port in place of 0.
            let answers = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(ResolveError::Lookup)?;
            let checked = check(answers.collect(), &policy)?;
            Ok(Box::new(checked.into_iter()) as Addrs)
        })
    }
}

/// Passes all answers on, or none.
fn check(answers: Vec<SocketAddr>, policy: &TargetPolicy) -> Result<Vec<SocketAddr>, ResolveError> {
    let addresses: Vec<IpAddr> = answers.iter().map(SocketAddr::ip).collect();
    check_answers(&addresses, policy).map_err(ResolveError::Refused)?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> Arc<TargetPolicy> {
        Arc::new(TargetPolicy::new(allowed.iter().map(|net| net.parse().unwrap()).collect()))
    }

    async fn resolve(name: &str, policy: Arc<TargetPolicy>) -> Result<Vec<SocketAddr>, String> {
        let resolving = GuardedResolver::new(policy).resolve(name.parse().unwrap());
        resolving.await.map(Iterator::collect).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused() {
        let refused = resolve("localhost", policy(&[])).await.unwrap_err();
        assert!(refused.contains("may not be reached"), "{refused}");
    }

    #[tokio::test]
    async fn an_allow_listed_name_is_resolved() {
        let addresses = resolve("localhost", policy(&["127.0.0.0/8", "::1/128"])).await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn one_forbidden_answer_refuses_them_all() {
        let public: SocketAddr = "8.8.8.8:0".parse().unwrap();
        let private: SocketAddr = "10.0.0.1:0".parse().unwrap();
        let metadata: SocketAddr = "169.254.169.254:0".parse().unwrap();
        assert_eq!(check(vec![public], &policy(&[])).unwrap(), [public]);
        assert!(check(vec![public, private], &policy(&[])).is_err());
        assert_eq!(check(vec![public, private], &policy(&["10.0.0.0/8"])).unwrap(), [public, private]);
        assert!(check(vec![public, metadata], &policy(&["0.0.0.0/0"])).is_err());
        assert!(check(vec![], &policy(&[])).is_err());
    }
}
