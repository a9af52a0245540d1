//! The enforcement point as the shell sees it.

use enforcer::cut::{self, Cut};
use enforcer::verify::{Difference, Verified};
use enforcer::{Applied, EnforceError, Fence, InForce, Options};
use model::ruleset::Ruleset;

/// What keeps a ruleset.
pub trait Point {
    /// Puts a ruleset in force, all of it or nothing.
    fn apply(&self, ruleset: &Ruleset, options: &Options) -> Result<Applied, EnforceError>;
    /// Compares what is in force with a ruleset.
    fn verify(
        &self,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Result<Verified, Vec<Difference>>, EnforceError>;
    /// Ends open flows that the ruleset in force does not permit, also those of devices that only
    /// `before` had.
    fn cut(
        &self,
        before: Option<&Ruleset>,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Cut, EnforceError>;
    /// What is in force and what it counted.
    fn read(&self) -> Result<InForce, EnforceError>;
    /// The netlink port that its changes come from, from whichever thread.
    fn port(&self) -> Result<u32, EnforceError>;
    /// Takes everything away.
    fn remove(&self) -> Result<(), EnforceError>;
}

impl Point for Fence {
    fn apply(&self, ruleset: &Ruleset, options: &Options) -> Result<Applied, EnforceError> {
        Self::apply(self, ruleset, options)
    }

    fn verify(
        &self,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
        Self::verify(self, ruleset, options)
    }

    fn cut(
        &self,
        before: Option<&Ruleset>,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Cut, EnforceError> {
        cut::closed(self.place(), before, ruleset, &options.site)
    }

    fn read(&self) -> Result<InForce, EnforceError> {
        Self::read(self)
    }

    fn port(&self) -> Result<u32, EnforceError> {
        Self::port(self)
    }

    fn remove(&self) -> Result<(), EnforceError> {
        Self::remove(self)
    }
}
