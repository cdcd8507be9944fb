//! The outbound guard between a host and a connection.
//!
//! Whoever connects asks here, for names and for literals alike, and connects to nothing but the addresses it
//! gets: they were checked after they were resolved, so a name that changes its mind in between (DNS
//! rebinding) gains nothing. What always holds: one forbidden address refuses all that came with it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use mediahooks_delivery::{TargetPolicy, TargetRefused, check_answers};
use url::Host;

use crate::failure::Failure;

/// Finds the addresses of a name.
#[derive(Clone)]
pub struct Lookup(Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>);

impl Lookup {
    /// Asks `resolve`.
    pub fn new(
        resolve: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(resolve))
    }

    /// The system's resolver, with its hosts file and search order.
    pub fn system() -> Self {
        Self::new(|name| {
            async move {
                let answers = tokio::net::lookup_host((name, 0)).await?;
                Ok(answers.map(|answer| answer.ip()).collect())
            }
            .boxed()
        })
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup(..)")
    }
}

type Answers = Result<Arc<[IpAddr]>, Arc<io::Error>>;

/// Resolves hosts and refuses what `policy` forbids.
pub(crate) struct Resolver {
    policy: Arc<TargetPolicy>,
    lookup: Lookup,
    /// Lookups under way. The system's resolver takes a thread for each: a name whose servers are dead must
    /// not take one per request.
    running: Arc<Mutex<HashMap<String, Shared<BoxFuture<'static, Answers>>>>>,
}

impl Resolver {
    pub(crate) fn new(policy: Arc<TargetPolicy>, lookup: Lookup) -> Self {
        Self { policy, lookup, running: Arc::default() }
    }

    /// Where a request to `host` may connect to.
    pub(crate) async fn resolve(&self, host: &Host, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let answers = match host {
            Host::Ipv4(address) => Arc::from([IpAddr::V4(*address)]),
            Host::Ipv6(address) => Arc::from([IpAddr::V6(*address)]),
            Host::Domain(name) => self.ask(name).await.map_err(Failure::Lookup)?,
        };
        match check_answers(&answers, &self.policy) {
            Ok(()) => Ok(answers.iter().map(|address| SocketAddr::new(*address, port)).collect()),
            Err(TargetRefused::NoAddress) => Err(Failure::NoAddress),
            Err(refused) => Err(Failure::Refused(refused)),
        }
    }

    /// Joins a lookup of `name` that is under way, or begins one.
    fn ask(&self, name: &str) -> Shared<BoxFuture<'static, Answers>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = running.get(name) {
            return asked.clone();
        }
        let (lookup, table, name) = (self.lookup.clone(), self.running.clone(), name.to_owned());
        let key = name.clone();
        // A task of its own: it ends, and leaves the table, even when all who wait for it have given up.
        let task = tokio::spawn(async move {
            let answers = (lookup.0)(name.clone()).await;
            table.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            answers.map(Arc::from).map_err(Arc::new)
        });
        let asked = task
            .map(|ended| ended.unwrap_or_else(|error| Err(Arc::new(io::Error::other(error)))))
            .boxed()
            .shared();
        running.insert(key, asked.clone());
        asked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn policy(allowed: &[&str]) -> Arc<TargetPolicy> {
        Arc::new(TargetPolicy::new(allowed.iter().map(|net| net.parse().unwrap()).collect()))
    }

    fn answering(answers: &'static [&'static str]) -> Lookup {
        Lookup::new(|_| async { Ok(answers.iter().map(|answer| answer.parse().unwrap()).collect()) }.boxed())
    }

    async fn resolve(
        host: &str,
        policy: Arc<TargetPolicy>,
        lookup: Lookup,
    ) -> Result<Vec<SocketAddr>, Failure> {
        Resolver::new(policy, lookup).resolve(&Host::parse(host).unwrap(), 80).await
    }

    #[tokio::test]
    async fn names_and_literals_pass_the_same_check() {
        for host in ["localhost", "127.0.0.1", "[::1]", "0x7f.1", "[::ffff:127.0.0.1]"] {
            let refused = resolve(host, policy(&[]), Lookup::system()).await;
            assert!(matches!(refused, Err(Failure::Refused(_))), "{host}");
            let allowed = resolve(host, policy(&["127.0.0.0/8"]), Lookup::system()).await.unwrap();
            assert!(allowed.iter().all(|address| address.port() == 80), "{host}");
        }
    }

    #[tokio::test]
    async fn one_forbidden_answer_refuses_them_all() {
        let resolve = async |answers, allowed: &[&str]| {
            resolve("name.example", policy(allowed), answering(answers)).await.map(|all| all.len())
        };
        assert_eq!(resolve(&["8.8.8.8", "2606:4700::1111"], &[]).await.unwrap(), 2);
        assert!(matches!(resolve(&["8.8.8.8", "10.0.0.1"], &[]).await, Err(Failure::Refused(_))));
        assert_eq!(resolve(&["8.8.8.8", "10.0.0.1"], &["10.0.0.0/8"]).await.unwrap(), 2);
        let everything = ["0.0.0.0/0", "::/0"];
        let metadata = resolve(&["8.8.8.8", "169.254.169.254"], &everything).await;
        assert!(matches!(metadata, Err(Failure::Refused(TargetRefused::Metadata { .. }))));
        assert!(matches!(resolve(&[], &everything).await, Err(Failure::NoAddress)));
    }

    #[tokio::test]
    async fn lookups_of_one_name_are_shared_while_they_last_and_no_longer() {
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
        let lookup = {
            let (asked, gate) = (asked.clone(), gate.clone());
            Lookup::new(move |_| {
                asked.fetch_add(1, Ordering::SeqCst);
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok(vec!["8.8.8.8".parse().unwrap()])
                }
                .boxed()
            })
        };
        let resolver = Resolver::new(policy(&[]), lookup);
        let name = Host::parse("slow.example").unwrap();
        let first = async {
            let waiting = futures::future::join_all((0..10).map(|_| resolver.resolve(&name, 80)));
            let (answers, ()) = tokio::join!(waiting, async { gate.add_permits(1) });
            assert!(answers.iter().all(Result::is_ok));
        };
        first.await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        gate.add_permits(1);
        resolver.resolve(&name, 80).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
