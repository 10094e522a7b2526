//! The first admin token, without which nobody could make another.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    Registry, RegistryError,
    model::{Change, Role, State, Token},
    now,
    secret::{NewSecret, TOKEN_PREFIX},
};

/// Who is named in the log for what the gateway does by itself.
pub const GATEWAY: &str = "headworks";

impl State {
    /// Some token can make tokens.
    pub fn has_admin(&self, now: Timestamp) -> bool {
        let mut tokens = self.tokens.values().map(|token| &token.value);
        tokens.any(|token| token.role == Role::Admin && token.is_live(now))
    }
}

impl Registry {
    /// Makes a token of role admin and writes its text to `path` (mode 0600), where the registry has no such token. True
    /// where it did.
    ///
    /// The text is on the disk before the token is in the log, under a name of its own: a crash between the two leaves
    /// no token that nobody knows.
    pub async fn ensure_admin_token(&self, path: &Path) -> Result<bool, RegistryError> {
        let pending = pending_path(path);
        let fault = |path: &Path, error: io::Error| RegistryError::TokenFile {
            path: path.display().to_string(),
            cause: error.to_string(),
        };
        if let Ok(text) = std::fs::read_to_string(&pending) {
            if self.state().authenticate_token(text.trim(), now()).is_some() {
                publish(&pending, path).map_err(|error| fault(path, error))?;
                return Ok(true);
            }
            std::fs::remove_file(&pending).map_err(|error| fault(&pending, error))?;
        }
        if self.state().has_admin(now()) {
            return Ok(false);
        }
        let secret = NewSecret::generate(TOKEN_PREFIX)?;
        write_secret(&pending, &secret.text).map_err(|error| fault(&pending, error))?;
        let token = Token {
            id: secret.id,
            name: "admin".to_owned(),
            role: Role::Admin,
            sha256: secret.sha256,
            created: now(),
            expires: None,
        };
        let committed = self
            .commit(GATEWAY, move |state| {
                let needed = !state.has_admin(now());
                Ok((needed.then(|| Change::CreateToken { token: token.clone() }), ()))
            })
            .await?;
        if committed.entry.is_some() {
            publish(&pending, path).map_err(|error| fault(path, error))?;
            Ok(true)
        } else {
            std::fs::remove_file(&pending).map_err(|error| fault(&pending, error))?;
            Ok(false)
        }
    }
}

fn pending_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pending");
    PathBuf::from(name)
}

pub(super) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn publish(pending: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(pending, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
