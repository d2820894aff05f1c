//! From what HTTP and TLS say to [`Error`].

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::StatusCode;
use rustls::CertificateError;

use crate::Error;

/// An answer that is no success. `said`: the server's own words.
pub(super) fn of_status(call: String, status: StatusCode, said: String, retry_after: Option<Duration>) -> Error {
    match status {
        StatusCode::UNAUTHORIZED => Error::Unauthorized { call, said },
        StatusCode::FORBIDDEN => Error::Forbidden { call, said },
        StatusCode::NOT_FOUND => Error::NotFound { call, said },
        StatusCode::GONE => Error::Expired { call, said },
        StatusCode::TOO_MANY_REQUESTS => Error::Throttled { call, said, retry_after },
        status if status.is_server_error() => Error::Server { call, status: status.to_string(), said, retry_after },
        status => Error::Refused { call, status: status.to_string(), said },
    }
}

/// No answer at all.
pub(super) fn of_transport(call: String, error: &kube::Error) -> Error {
    match links(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        Some(error) => Error::Tls { call, reason: explained(error) },
        None => Error::Unreachable { call, reason: chain(error) },
    }
}

fn explained(error: &rustls::Error) -> String {
    use CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet};
    use CertificateError::{NotValidYetContext, UnknownIssuer};
    let advice = match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                "; is this node's clock right, and the certificate renewed?"
            }
            UnknownIssuer => "; it is signed by another authority than the configured one",
            NotValidForName | NotValidForNameContext { .. } => "; it was issued for another address",
            _ => "",
        },
        rustls::Error::AlertReceived(_) => "; the server does not take our certificate",
        _ => "",
    };
    format!("{error}{advice}")
}

/// An error and what is in it. An `io::Error` is not its content's outside, but stands for it: its source is the
/// content's source.
fn links<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        match (*error).downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(content) => Some(content as &(dyn StdError + 'static)),
            None => (*error).source(),
        }
    })
}

/// An error and its sources; a source that the text before it already quotes is left out, and so is kube's envelope of
/// other libraries' errors.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let error = match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Service(inner)) => inner.as_ref(),
        _ => error,
    };
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}
