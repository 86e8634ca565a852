//! Names become addresses here, and only those that may be reached. The HTTP client connects to
//! what this answers and asks nobody else, so a name that stands for one address when it is looked
//! at and for another when it is used gains nothing by that.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use crate::decide::network::{AddressNotAllowed, Networks};

/// The resolver of the system, without the addresses that must not be reached.
#[derive(Debug)]
pub(super) struct Admitted {
    networks: Arc<Networks>,
}

impl Admitted {
    /// A resolver for these networks, and the public ones.
    pub(super) const fn new(networks: Arc<Networks>) -> Self {
        Self { networks }
    }
}

impl Resolve for Admitted {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = Arc::clone(&self.networks);
        Box::pin(async move {
            // The client puts the port of the URL in place of the zero.
            let found = lookup_host((name.as_str(), 0)).await?;
            let admitted = admitted(&networks, found)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be reached; to have none is an error of its own.
fn admitted(
    networks: &Networks,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, AddressNotAllowed> {
    let admitted: Vec<_> = found.filter(|found| networks.admit(found.ip())).collect();
    if admitted.is_empty() {
        Err(AddressNotAllowed)
    } else {
        Ok(admitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: &[&str]) -> Result<Vec<String>, AddressNotAllowed> {
        let networks = "10.0.0.0/8".parse().unwrap();
        let found = addresses.iter().map(|address| address.parse().unwrap());
        let admitted = admitted(&networks, found)?;
        Ok(admitted.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_what_may_be_reached_of_a_name_is_tried() {
        let admitted = of(&[
            "127.0.0.1:0",
            "1.1.1.1:0",
            "[::1]:0",
            "10.0.0.1:0",
            "[fe80::1]:0",
        ]);
        assert_eq!(admitted.unwrap(), ["1.1.1.1:0", "10.0.0.1:0"]);
    }

    #[test]
    fn a_name_that_leads_nowhere_else_is_refused() {
        assert_eq!(
            of(&["127.0.0.1:0", "169.254.169.254:0"]),
            Err(AddressNotAllowed)
        );
    }

    #[tokio::test]
    async fn localhost_is_a_name_like_any_other() {
        let name = || "localhost".parse().unwrap();
        let refusing = Admitted::new(Arc::default());
        let Err(refused) = refusing.resolve(name()).await else {
            panic!("localhost is public");
        };
        assert!(refused.is::<AddressNotAllowed>(), "{refused}");
        let networks = "127.0.0.0/8".parse().unwrap();
        let admitting = Admitted::new(Arc::new(networks));
        let Ok(mut found) = admitting.resolve(name()).await else {
            panic!("localhost is refused");
        };
        assert!(found.all(|found| found.is_ipv4() && found.ip().is_loopback()));
    }
}
