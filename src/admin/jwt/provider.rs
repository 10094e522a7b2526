//! Signatures of JSON Web Tokens, by ring. It can check and not sign, and knows no algorithm with a shared secret.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(unsupported()),
    verifier_factory: |algorithm, key| {
        let how = How::of(*algorithm).ok_or_else(unsupported)?;
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Ok(Box::new(ByRing {
            algorithm: *algorithm,
            how,
            key: key.clone(),
        }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn unsupported() -> Error {
    ErrorKind::UnsupportedAlgorithm.into()
}

/// Of the process; the first call counts.
pub(super) fn install() {
    // An error says that it is installed already.
    let _ = PROVIDER.install_default();
}

enum How {
    Rsa(&'static RsaParameters),
    Point(&'static dyn VerificationAlgorithm),
}

impl How {
    fn of(algorithm: Algorithm) -> Option<How> {
        Some(match algorithm {
            Algorithm::RS256 => How::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => How::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => How::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => How::Rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => How::Rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => How::Rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => How::Point(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => How::Point(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => How::Point(&ED25519),
            // What is signed with a shared secret, and what is not known yet.
            _ => return None,
        })
    }
}

struct ByRing {
    algorithm: Algorithm,
    how: How,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (&self.how, self.key.kind()) {
            (How::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let key = RsaPublicKeyComponents {
                    n: without_zeros(n),
                    e: without_zeros(e),
                };
                key.verify(parameters, message, signature)
            }
            (How::Point(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

/// ring refuses numbers that begin with zeros, which some providers publish.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
