//! The trials of both homes with an adversary on them: see [`crate::adversary`].

use std::time::Duration;

use evidence::place::Place;
use homes::torture::scale;
use vexfs_uapi::Home;

use super::acts::ACTS;
use super::stage::run;
use crate::both_homes::trial;
use crate::trial::Trial;

/// An act takes seconds and ends by itself. Within this limit a hanging act has been reported.
const LIMIT: Duration = Duration::from_secs(150);

/// One trial of `home` for each act.
pub fn trials(home: Home) -> impl Iterator<Item = Trial> {
    ACTS.iter().map(move |act| {
        let name = format!("adversary_{}", act.name);
        let trial =
            trial(home, &name, act.size_option(), |context, mounted| run(context, mounted, act));
        // An invalid scale fails the trial itself.
        let trial = trial.within(LIMIT * scale().unwrap_or(1));
        if home == Home::Fuse && !act.everywhere { trial.only_in(Place::Host) } else { trial }
    })
}
