//! A door that is open: its certificate, key, authority and token are read again when their files change.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use fleetgauge_server::door::access::Access;
use fleetgauge_server::door::listener::{Limits, Listener, Tls};

use super::files::{Contents, Watched};
use super::tls;
use crate::config::DoorSection;

/// No token is longer.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// A door, and what it was opened with.
pub(super) struct Opened {
    what: &'static str,
    section: DoorSection,
    tls: Option<Tls>,
    access: Access,
    seen: Watched,
}

// === impl Opened ===

impl Opened {
    /// Opens the door of the section `what`.
    ///
    /// *Errors*: a file cannot be read, or the address not be listened at.
    pub(super) async fn open(
        what: &'static str,
        section: &DoorSection,
        limits: Limits,
    ) -> anyhow::Result<(Self, Listener)> {
        let seen = Watched::new(Contents::of(&files(section)));
        let tls = section.tls.as_ref().map(tls::read).transpose()?.map(Tls::new);
        let certificate = section
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca_file.is_some());
        let access = Access::new(token(section)?.as_deref(), certificate);
        let listener = Listener::bind(section.listen, tls.clone(), limits).await;
        let listener = listener.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "{what}: {} is in use by another process; end it, or choose another port with {what}.listen",
                section.listen
            ),
            _ => anyhow::anyhow!("{what}: cannot listen at {}: {error}", section.listen),
        })?;
        if !section.listen.ip().is_loopback() && tls.is_none() {
            tracing::warn!(
                "{what} listens at {} without TLS: whoever is on the way can read and change what is said",
                section.listen
            );
        }
        let opened = Self {
            what,
            section: section.clone(),
            tls,
            access,
            seen,
        };
        Ok((opened, listener))
    }

    /// Who may come in.
    pub(super) fn access(&self) -> Access {
        self.access.clone()
    }

    /// Takes its files as they are now, if they have changed; what is wrong with them is logged, and changes nothing.
    pub(super) fn renew(&mut self) {
        if !self.seen.look() {
            return;
        }
        match self.read_again() {
            Ok(()) => tracing::info!("the certificate and token of {} were read again", self.what),
            Err(error) => tracing::error!(
                "the files of {} have changed, and are not taken: {error:#}",
                self.what
            ),
        }
    }

    fn read_again(&self) -> anyhow::Result<()> {
        let config = self.section.tls.as_ref().map(tls::read).transpose()?;
        let token = token(&self.section)?;
        if let (Some(tls), Some(config)) = (&self.tls, config) {
            tls.renew(config);
        }
        if let Some(token) = token {
            self.access.renew(&token);
        }
        Ok(())
    }
}

fn files(section: &DoorSection) -> Vec<PathBuf> {
    let tls = section.tls.iter();
    let tls = tls.flat_map(|tls| {
        [
            Some(&tls.cert_file),
            Some(&tls.key_file),
            tls.client_ca_file.as_ref(),
        ]
    });
    tls.flatten().chain(&section.bearer_token_file).cloned().collect()
}

/// The token that is asked for.
fn token(section: &DoorSection) -> anyhow::Result<Option<String>> {
    let Some(file) = &section.bearer_token_file else {
        return Ok(None);
    };
    let bytes = fleetgauge::file::read(file, MAX_TOKEN_BYTES)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{}: not UTF-8", file.display()))?;
    anyhow::ensure!(!text.trim().is_empty(), "{}: the token is empty", file.display());
    Ok(Some(text.trim().to_owned()))
}
