//! Whether a deployment would deploy anything other than the last one did: a hash over everything
//! that goes into a run. It is keyed, because it stands in the status for all to read and values
//! from Secrets go into it: without the key nobody can try out guesses. It names its key, because
//! hashes of different keys say nothing about each other.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use werf_shared::bundle::WerfBundleStatus;

use super::settings::Settings;
use super::values::Values;

/// How hashes are made. Counted up with every change of that, so that a hash of the old way is not
/// taken for one of the new way.
const FORMULA: &[u8] = b"werf-operator inputs hash, formula 1";

/// The key of the hash; the same for all replicas, known to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct InputsKey {
    bytes: Vec<u8>,
    id: String,
}

impl InputsKey {
    /// A key from random bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        let id = format!("{:08x}", mac(&bytes, [FORMULA]) >> 96);
        Self { bytes, id }
    }

    /// Which key it is, together with the formula. All can read it: nothing but the key makes it, and
    /// the key cannot be found from it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether another key may be the right one for this bundle by now: its last run was hashed with
    /// another one, or its claim was given up, perhaps by somebody with another one.
    pub fn is_in_doubt(&self, status: &WerfBundleStatus) -> bool {
        match &status.current_run {
            Some(run) => !self.made(&run.inputs_hash),
            None => status.run > 0,
        }
    }

    /// Hashes from before keys were named were made by nobody.
    fn made(&self, hash: &str) -> bool {
        hash.split_once(':').is_some_and(|(id, _)| id == self.id)
    }
}

/// The hash of a run's inputs: the id of the key, a colon and 32 hexadecimal digits. Fields that do not
/// change what is deployed, such as how long logs are kept, stay out.
pub fn hash(
    key: &InputsKey,
    uid: &str,
    tag: &str,
    digest: Option<&str>,
    settings: &Settings,
    values: &Values,
) -> String {
    let repository = settings.repository.to_string();
    let timeout = settings.timeout.as_secs().to_string();
    let scheme: &[u8] = if settings.insecure { b"http" } else { b"https" };
    let fixed: [&[u8]; 11] = [
        scheme,
        uid.as_bytes(),
        repository.as_bytes(),
        tag.as_bytes(),
        digest.unwrap_or_default().as_bytes(),
        settings.target_namespace.as_bytes(),
        settings.service_account.as_bytes(),
        settings.release.as_bytes(),
        settings.cpu.as_bytes(),
        settings.memory.as_bytes(),
        timeout.as_bytes(),
    ];
    let parts = fixed.into_iter().chain(values.fingerprint_parts());
    format!("{}:{:032x}", key.id, mac(&key.bytes, parts))
}

fn mac<'a>(key: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> u128 {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return 0;
    };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let tag = mac.finalize().into_bytes();
    let (half, _) = tag.split_at(16);
    u128::from_be_bytes(half.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests;
