//! How what is open on a listener learns that it stops, and which sockets are: those outlive the HTTP
//! exchange that began them.

use tokio_util::sync::CancellationToken;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The sockets of a listener, so that it can wait for them and end them when it stops.
#[derive(Clone, Debug)]
pub struct Sockets {
    stop: CancellationToken,
    end: CancellationToken,
    open: TaskTracker,
}

impl Sockets {
    /// None yet, of a listener that serves until `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, end: CancellationToken::new(), open: TaskTracker::new() }
    }

    /// Counts a socket as open for as long as the token is held.
    pub fn enter(&self) -> TaskTrackerToken {
        self.open.token()
    }

    /// Returns when the listener stops: finish what is under way, begin nothing.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Returns when the time for that is over.
    pub async fn ended(&self) {
        self.end.cancelled().await;
    }

    /// The same, for who lives longer than this.
    pub fn until_ended(&self) -> WaitForCancellationFutureOwned {
        self.end.clone().cancelled_owned()
    }

    /// Returns when no socket is open any more.
    pub async fn closed(&self) {
        self.open.close();
        self.open.wait().await;
    }

    /// Ends what is still open.
    pub fn end(&self) {
        self.end.cancel();
    }
}
