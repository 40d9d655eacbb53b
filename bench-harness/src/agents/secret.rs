//! The secret that coordinators share with agents. It never goes over the wire: the agent draws a challenge, and the
//! coordinator signs it.

use std::fmt::Write as _;
use std::io;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The environment variable that holds it: command lines can be read by everybody on the machine.
pub(crate) const VARIABLE: &str = "CORECAST_AGENT_TOKEN";

/// What is signed begins with this, so that a signature is good for nothing else.
const PURPOSE: &str = "corecast-bench agent:";

/// A secret; empty where none is needed.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// This one, or the environment's, or none.
    pub(crate) fn new(given: Option<&str>) -> Self {
        let given = given.map(str::to_owned);
        Self(
            given
                .or_else(|| std::env::var(VARIABLE).ok())
                .unwrap_or_default(),
        )
    }

    /// One that nobody else knows.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub(crate) fn draw() -> io::Result<Self> {
        Ok(Self(challenge()?))
    }

    /// There is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For a child's environment.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// The signature of a challenge, in hexadecimal digits.
    pub(super) fn sign(&self, challenge: &str) -> String {
        hexadecimal(&self.signer(challenge).finalize().into_bytes())
    }

    /// Whether this is the signature; takes the same time wherever the two differ.
    pub(super) fn verify(&self, challenge: &str, signature: &str) -> bool {
        let bytes: Option<Vec<u8>> = signature
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
            .collect();
        bytes.is_some_and(|bytes| self.signer(challenge).verify_slice(&bytes).is_ok())
    }

    fn signer(&self, challenge: &str) -> Hmac<Sha256> {
        let mut signer =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("keys may have any length");
        signer.update(PURPOSE.as_bytes());
        signer.update(challenge.as_bytes());
        signer
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// 256 bits from the system's random source, in hexadecimal digits.
///
/// # Errors
/// When the system has none to give.
pub(super) fn challenge() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_secret_can_sign() {
        let (secret, other) = (Secret("open sesame".into()), Secret::draw().unwrap());
        let asked = challenge().unwrap();
        let signed = secret.sign(&asked);
        assert_eq!(signed.len(), 64);
        assert!(secret.verify(&asked, &signed));
        assert!(!other.verify(&asked, &signed));
        assert!(!secret.verify(&challenge().unwrap(), &signed));
        for garbage in ["", "zz", "é", &signed[1..], &signed[2..]] {
            assert!(!secret.verify(&asked, garbage), "{garbage}");
        }
        assert_ne!(challenge().unwrap(), asked);
    }
}
