//! What judges said, by the content they were asked about, and the secret that marks it.

use ring::rand::SecureRandom;
use ring::rand::SystemRandom;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::stats::Score;
use crate::store::Store;
use crate::store::failed;

/// What a judge said, and what it took to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it said.
    pub score: Score,
    /// What the call cost, billionths of a dollar, if its price is known.
    pub cost_nano_usd: Option<u64>,
    /// The pair that it was asked for, hashed: until that is scored, nobody has counted the call.
    pub pair: u64,
}

/// A cost that is not known.
const UNKNOWN: u64 = u64::MAX;

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
    pub fn judged(&self, asked: &[u8; 32]) -> Option<Kept> {
        let value = self.main().ok()?.judged.get(asked).ok()??;
        let (units, rest) = value.split_first_chunk::<4>()?;
        let (cost, rest) = rest.split_first_chunk::<8>()?;
        let cost = u64::from_le_bytes(*cost);
        Some(Kept {
            score: Score::try_from(u32::from_le_bytes(*units)).ok()?,
            cost_nano_usd: (cost != UNKNOWN).then_some(cost),
            pair: u64::from_le_bytes(rest.try_into().ok()?),
        })
    }

    /// Keeps what a judge said.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_judged(&self, asked: &[u8; 32], kept: &Kept) -> Result<()> {
        let Kept { score, cost_nano_usd, pair } = kept;
        let cost = cost_nano_usd.unwrap_or(UNKNOWN).to_le_bytes();
        let value = [&score.units().to_le_bytes()[..], &cost, &pair.to_le_bytes()].concat();
        self.main()?.judged.insert(asked, value).map(drop).map_err(|e| failed(&e))
    }
}
