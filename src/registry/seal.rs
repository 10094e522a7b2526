//! Signing secrets at rest. They must be known whole to check a signature, so they lie sealed in the log: with
//! ChaCha20-Poly1305, under a key that is not in the store, bound to the id of the key that they belong to.

use std::{io, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::model::{SealedSecret, SigningSecret};
use crate::problem::{Code, Problem};

pub const SEALING_KEY_BYTES: usize = 32;
/// What a sealed text begins with: another way to seal would begin with another.
const FORM: &str = "c1.";

/// Why a sealing key cannot be used: one sentence for the operator, without the key.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("a sealing key is {SEALING_KEY_BYTES} bytes in base64, such as `openssl rand -base64 32` makes")]
    NoKey,
    #[error("{path}: {cause}")]
    File { path: String, cause: io::Error },
}

/// Seals and opens. `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct Sealer(Arc<LessSafeKey>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sealer(***)")
    }
}

impl Sealer {
    /// From the text of the configuration.
    pub fn new(text: &str) -> Result<Sealer, SealError> {
        let key = STANDARD.decode(text.trim()).map_err(|_| SealError::NoKey)?;
        UnboundKey::new(&CHACHA20_POLY1305, &key)
            .map(|key| Sealer(Arc::new(LessSafeKey::new(key))))
            .map_err(|_| SealError::NoKey)
    }

    /// From a file of its own, made (mode 0600) where it is not there. A node that shares its store needs the same key
    /// as the others, from the configuration.
    pub fn from_file(path: &Path) -> Result<Sealer, SealError> {
        let failed = |cause: io::Error| SealError::File {
            path: path.display().to_string(),
            cause,
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Sealer::new(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; SEALING_KEY_BYTES];
                getrandom::fill(&mut key).map_err(|error| failed(io::Error::other(error.to_string())))?;
                let text = STANDARD.encode(key);
                super::admin_token::write_secret(path, &text).map_err(failed)?;
                Sealer::new(&text)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Seals the secret of the key `id`.
    pub fn seal(&self, id: &str, secret: &SigningSecret) -> Result<SealedSecret, Problem> {
        let failed = |cause: String| {
            tracing::error!(cause, "a signing secret could not be sealed");
            Problem::new(Code::Internal, "no signing key could be made; try again")
        };
        // Random: two of the few secrets that one key seals meet with a chance of 2^-60 after a million of them.
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| failed(error.to_string()))?;
        let mut sealed = secret.reveal().as_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(id.as_bytes()),
                &mut sealed,
            )
            .map_err(|error| failed(error.to_string()))?;
        let text = STANDARD.encode([&nonce[..], &sealed].concat());
        Ok(SealedSecret::new(format!("{FORM}{text}")))
    }

    /// The secret of the key `id`; none where it was sealed with another key, for another id, or changed.
    pub fn open(&self, id: &str, sealed: &SealedSecret) -> Option<SigningSecret> {
        let bytes = STANDARD.decode(sealed.as_str().strip_prefix(FORM)?).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(id.as_bytes()), &mut sealed)
            .ok()?
            .to_vec();
        String::from_utf8(opened).ok().map(SigningSecret::new)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_same_key_opens_and_only_for_the_same_id() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("sealing-key");
        let sealer = Sealer::from_file(&path).expect("made");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let secret = SigningSecret::new("whsec_c2VjcmV0".to_owned());
        let sealed = sealer.seal("k1", &secret).expect("sealed");
        assert!(!sealed.as_str().contains("whsec"));
        assert_ne!(
            sealed.as_str(),
            sealer.seal("k1", &secret).expect("sealed").as_str()
        );
        let again = Sealer::from_file(&path).expect("read");
        assert_eq!(again.open("k1", &sealed), Some(secret));
        assert_eq!(again.open("k2", &sealed), None);
        let other = Sealer::new(&STANDARD.encode([7; 32])).expect("a key");
        assert_eq!(other.open("k1", &sealed), None);
        for text in ["", "short", &STANDARD.encode([0; 31])] {
            assert!(Sealer::new(text).is_err());
        }
        assert_eq!(format!("{again:?}"), "Sealer(***)");
    }
}
