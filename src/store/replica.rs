//! The name under which this data directory's counts are added to those of others.

use crate::error::Result;
use crate::store::Store;
use crate::store::failed;

/// Where it is, in the default tree.
const REPLICA: &str = "replica";

impl Store {
    /// The name, made up at random when it is first asked for.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn replica(&self) -> Result<String> {
        let fresh = format!("{:032x}", fastrand::u128(..));
        let main = self.main()?;
        let kept = main.db.compare_and_swap(REPLICA, None::<&[u8]>, Some(fresh.as_bytes()));
        let name = match kept.map_err(|e| failed(&e))? {
            Ok(()) => fresh,
            Err(swap) => String::from_utf8_lossy(&swap.current.unwrap_or_default()).into_owned(),
        };
        Ok(name)
    }
}
