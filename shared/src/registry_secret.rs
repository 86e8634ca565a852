//! A Secret of a registry as it is held while it is used: its type and its values, which no log line
//! can show.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretSlice};

/// A Secret that was read for one poll or one Job.
#[derive(Debug)]
pub struct Secret {
    kind: String,
    data: BTreeMap<String, SecretSlice<u8>>,
}

impl Secret {
    /// A Secret of this type with these values.
    pub fn new(kind: impl Into<String>, data: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let data = data.into_iter();
        Self {
            kind: kind.into(),
            data: data.map(|(key, value)| (key, value.into())).collect(),
        }
    }

    /// Its type, such as `kubernetes.io/dockerconfigjson`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// One of its values.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(SecretSlice::expose_secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_can_be_read_and_not_shown() {
        let secret = Secret::new("Opaque", [("key".to_owned(), b"hunter2".to_vec())]);
        assert_eq!(secret.get("key"), Some(b"hunter2".as_slice()));
        assert_eq!(secret.get("other"), None);
        let shown = format!("{secret:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("104"),
            "{shown}"
        );
    }
}
