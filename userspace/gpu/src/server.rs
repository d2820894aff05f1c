//! The socket: each connection gets one document and is closed.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::keeper::Keeper;

/// Connections that are answered at once; further ones are closed.
pub const MOST_CONNECTIONS: usize = 16;
/// How long a reader may take for the document.
const READING: Duration = Duration::from_secs(3);
/// Before the next try where no connection can be taken, since no descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);
/// Of the socket: its owner and its group.
const MODE: Mode = Mode::from_raw_mode(0o117);

/// Makes the socket, and its folder where that is missing. One that a dead helper has left is replaced.
///
/// # Errors
/// When the path is taken by another helper or by something else, or cannot be made.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // The socket must not be there with wider rights even for a moment.
    let before = umask(MODE);
    let bound = UnixListener::bind(path).or_else(|error| {
        let left_behind = || UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        if error.kind() != ErrorKind::AddrInUse || !left_behind() {
            return Err(error);
        }
        fs::remove_file(path)?;
        UnixListener::bind(path)
    });
    umask(before);
    bound
}

/// Answers for ever.
pub fn serve(listener: &UnixListener, keeper: &Keeper) -> ! {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let place = Place::take(&open);
        if let Some(place) = place {
            let keeper = keeper.clone();
            // Where there is no thread to be had, the connection is closed like one too many.
            let _closed = thread::Builder::new().name("answer".to_owned()).spawn(move || {
                // A reader that goes away or takes too long has had its chance.
                let _gone = send(stream, &keeper.document());
                drop(place);
            });
        }
    }
}

/// One of the connections; given back with this value.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::AcqRel) < MOST_CONNECTIONS).then_some(taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn send(mut stream: UnixStream, mut rest: &[u8]) -> io::Result<()> {
    let began = Instant::now();
    while !rest.is_empty() {
        let left = READING.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
