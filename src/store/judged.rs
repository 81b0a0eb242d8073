//! What judges said, by the content they were asked about, and the secret that marks it.

use ring::rand::SecureRandom;
use ring::rand::SystemRandom;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::stats::Score;
use crate::store::Store;
use crate::store::failed;

/// Where the secret is, in the default tree.
const SECRET: &str = "fence_secret";

impl Store {
    /// A secret of this directory, made when it is first asked for.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn secret(&self) -> Result<[u8; 32]> {
        let main = self.main()?;
        let mut fresh = [0; 32];
        let drawn = SystemRandom::new().fill(&mut fresh);
        drawn.map_err(|_| Error::new(Kind::Internal, "the system gives no random numbers"))?;
        let swapped = main.db.compare_and_swap(SECRET, None::<&[u8]>, Some(&fresh[..]));
        let kept = match swapped.map_err(|e| failed(&e))? {
            Ok(()) => None,
            Err(kept) => kept.current.and_then(|kept| <[u8; 32]>::try_from(&*kept).ok()),
        };
        Ok(kept.unwrap_or(fresh))
    }

    /// What a judge said when it was asked exactly this.
    pub fn judged(&self, asked: &[u8; 32]) -> Option<Score> {
        let value = self.main().ok()?.judged.get(asked).ok()??;
        let units = u32::from_le_bytes(<[u8; 4]>::try_from(&*value).ok()?);
        Score::try_from(units).ok()
    }

    /// Keeps what a judge said.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_judged(&self, asked: &[u8; 32], score: Score) -> Result<()> {
        let value = &score.units().to_le_bytes()[..];
        self.main()?.judged.insert(asked, value).map(drop).map_err(|e| failed(&e))
    }
}
