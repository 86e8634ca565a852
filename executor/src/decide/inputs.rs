//! Whether a deployment would deploy anything other than the last one did: a hash over everything
//! that goes into a run. It is keyed, because it stands in the status for all to read and values
//! from Secrets go into it: without the key nobody can try out guesses.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::settings::Settings;
use super::values::Values;

/// The key of the hash; the same for all replicas, known to nobody else.
#[derive(Clone)]
pub struct InputsKey(Vec<u8>);

impl InputsKey {
    /// A key from random bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The hash of a run's inputs: 32 hexadecimal digits. Fields that do not change what is deployed,
/// such as how long logs are kept, stay out.
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
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key.0) else {
        return String::new();
    };
    for part in fixed.into_iter().chain(values.fingerprint_parts()) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let tag = mac.finalize().into_bytes();
    let (half, _) = tag.split_at(16);
    format!(
        "{:032x}",
        u128::from_be_bytes(half.try_into().unwrap_or_default())
    )
}

#[cfg(test)]
mod tests;
